/* SPDX-License-Identifier: BSD-2-Clause
 * step.c: the loop: what happens in one iteration and in which order, as Caffe has it. */
#include "solver/solver.h"

/* ---- events and cancelling -------------------------------------------------------------- */

dn_status dni_solver_emit(dn_solver *s, int32_t kind, int32_t test_net, float loss,
                          const char *path)
{
    if (!s->options.on_event)
        return DN_OK;
    dn_status st = s->context->host.stream ? dni_mirror_catch_up(s->context) : DN_OK;
    if (st)
        return st;
    dn_event event = {.struct_size = sizeof event,
                      .kind = kind,
                      .test_net = test_net,
                      .iteration = s->iteration,
                      .loss = loss,
                      .rate = s->rate,
                      .path = path};
    dni_clear_error();
    st = s->options.on_event(s->options.on_event_user, s, &event);
    if (!st) {
        dni_clear_error(); /* of a call the callback made and did not mind */
        return DN_OK;
    }
    if (st < 0 && dn_last_error())
        return dni_in(st, "event callback");
    return dni_fail(st < 0 ? st : DN_E_HOST, "the event callback returned %d", (int)st);
}

void dn_solver_cancel(dn_solver *s)
{
    if (s)
        atomic_store(&s->cancel, true);
}

dn_status dni_solver_check_cancel(dn_solver *s)
{
    if (atomic_exchange(&s->cancel, false))
        return dni_fail(DN_E_CANCELLED, "cancelled after iteration %lld",
                        (long long)s->iteration);
    return DN_OK;
}

/* ---- the loss, smoothed ----------------------------------------------------------------- */

/* The window reaches across calls of dn_solver_step, so a host that steps one by one sees the
 * same curve as one that steps a thousand. */
static void add_loss(dn_solver *s, float loss)
{
    s->losses[s->next_loss] = loss;
    s->next_loss = (s->next_loss + 1) % s->param->average_loss;
    if (s->num_losses < s->param->average_loss)
        s->num_losses++;
}

/* Of one pass of iter_size. */
static void add_pass(dn_solver *s, float loss)
{
    dni_fp host = dni_fp_enter();
    s->pass_loss += loss;
    if (++s->num_passes == s->param->iter_size) {
        add_loss(s, (float)(s->pass_loss / s->param->iter_size));
        s->pass_loss = s->num_passes = 0;
    }
    dni_fp_leave(host);
}

/* Oldest first; those that the mean is no longer of are gone. */
static dn_status read_kept(dn_solver *s)
{
    const dni_losses *l = &s->update->losses;
    int32_t size = s->param->iter_size;
    int64_t most = l->passes - size + (s->num_passes + s->num_kept) % size;
    if (!s->num_kept)
        return DN_OK;
    dn_status st = dni_mirror_fetch(s->context, l->ring);
    if (s->num_kept > most) {
        s->num_kept = most;
        s->pass_loss = s->num_passes = 0;
    }
    for (; s->num_kept; s->num_kept--)
        if (!st)
            add_pass(s, dni_losses_at(l, s->net->dtype, s->num_kept - 1));
    return st;
}

/* After another forward or a reshape, one that is not kept is gone. */
dn_status dni_solver_read_loss(dn_solver *s)
{
    float loss = 0;
    bool there = s->unread && s->unread == s->net->step && !s->net->reshaped;
    s->unread = 0;
    dn_status st = read_kept(s);
    if (there && !st)
        st = dni_net_loss(s->net, &loss);
    if (there && !st)
        add_pass(s, loss);
    return st;
}

/* Reading the loss waits for the device, so it is left there until somebody asks. */
static dn_status leave_loss(dn_solver *s)
{
    dn_status st = dni_losses_keep(s->update, s->net);
    if (st != DN_DECLINED) {
        s->num_kept += !st;
        return st;
    }
    s->unread = s->net->step;
    return s->update->losses.passes > 2 ? dni_solver_read_loss(s) : DN_OK;
}

/* As far as it was read. */
static float known_loss(const dn_solver *s)
{
    double sum = 0;
    if (!s || !s->num_losses)
        return 0;
    dni_fp host = dni_fp_enter();
    for (int64_t i = 0; i < s->num_losses; i++) /* oldest first: one order for all histories */
        sum += s->losses[(s->next_loss - s->num_losses + i + s->param->average_loss) %
                         s->param->average_loss];
    float mean = (float)(sum / (double)s->num_losses);
    dni_fp_leave(host);
    return mean;
}

float dn_solver_loss(const dn_solver *solver)
{
    dn_solver *s = (dn_solver *)solver; /* what it last read is no part of what it is */
    if (s && (s->unread || s->num_kept)) {
        dni_saved_error before; /* of the host's last call, which this one leaves */
        dni_save_error(&before);
        s->late = dni_solver_read_loss(s);
        if (s->late)
            dni_save_error(&s->late_words);
        dni_restore_error(&before);
    }
    return known_loss(s);
}

/* ---- the learning rate ------------------------------------------------------------------ */

float dn_solver_learning_rate(const dn_solver *s)
{
    if (!s)
        return 0;
    if (s->rate_is_given)
        return s->given_rate;
    int32_t step = dni_schedule_step(s->param, s->iteration, s->step);
    return dni_schedule_rate(s->param, s->max_iter, s->iteration, step);
}

dn_status dn_solver_set_learning_rate(dn_solver *s, float rate)
{
    dni_clear_error();
    if (!s || rate != rate)
        return dni_fail(DN_E_INVALID, "%s",
                        s ? "the learning rate is not a number" : "the solver is NULL");
    s->rate_is_given = rate >= 0;
    s->given_rate = rate;
    return DN_OK;
}

/* ---- one iteration ---------------------------------------------------------------------- */

/* What the next update depends on beside the gradients. */
static dn_status set_rate(dn_solver *s)
{
    double correction = 1;
    dni_fp host = dni_fp_enter();
    if (s->rule->correction)
        correction = s->rule->correction(s->param, s->iteration);
    s->rate = dn_solver_learning_rate(s);
    dn_status st = dni_update_set(s->update, s->rate, correction, 1.0 / s->param->iter_size);
    if (!st && dni_schedule_moves_momentum(s->param))
        st = dni_update_set_momentum(
            s->update, dni_schedule_momentum(s->param, s->max_iter, s->iteration, s->rate));
    dni_fp_leave(host);
    return st;
}

static dn_status update(dn_solver *s)
{
    dn_status st = set_rate(s);
    if (!st)
        st = dni_update_run(s->update, s->net);
    if (st)
        return dni_in(st, "update");
    s->step = dni_schedule_step(s->param, s->iteration, s->step);
    s->iteration++;
    return DN_OK;
}

dn_status dni_solver_can_run(const dn_solver *s)
{
    if (!s)
        return dni_fail(DN_E_INVALID, "the solver is NULL");
    if (s->options.wire_only)
        return dni_fail(DN_E_STATE, "the solver was created with wire_only: it cannot run");
    return DN_OK;
}

dn_status dni_solver_check_alone(const dn_solver *s)
{
    if (s && s->joined)
        return dni_fail(DN_E_STATE, "the solver trains with others: step them together");
    return DN_OK;
}

dn_status dn_solver_apply_update(dn_solver *s)
{
    dni_clear_error();
    dn_status st = dni_solver_check_alone(s);
    if (!st)
        st = dni_solver_can_run(s);
    if (!st)
        st = dni_solver_reduce(s);
    return st ? st : update(s);
}

static bool due(int64_t iteration, int64_t interval)
{
    return interval > 0 && iteration % interval == 0;
}

/* Gradients summed over iter_size passes. */
static dn_status gradients(dn_solver *s)
{
    bool whole = (s->num_passes + s->num_kept) % s->param->iter_size == 0; /* else: a failure */
    dn_status st = whole ? DN_OK : dni_solver_read_loss(s);
    if (!whole)
        s->pass_loss = s->num_passes = 0;
    s->unread = 0; /* nobody asked */
    for (int32_t i = 0; !st && i < s->param->iter_size; i++) {
        float loss = 0;
        bool later = s->context->mirror != NULL;
        st = dn_net_forward(s->net, later ? NULL : &loss);
        if (!st)
            st = dni_solver_backward(s, i + 1 == s->param->iter_size);
        if (!st && later)
            st = leave_loss(s);
        else if (!st)
            add_pass(s, loss);
    }
    return st;
}

static dn_status begin(dn_solver *s)
{
    dn_status st = dn_net_clear_gradients(s->net);
    if (!st && !s->options.manual_tests && due(s->iteration, s->param->test_interval) &&
        (s->iteration > 0 || s->param->test_initialization))
        st = dni_solver_test_all(s);
    s->rate = dn_solver_learning_rate(s);
    if (!st)
        st = dni_solver_emit(s, DN_EVENT_STEP_BEGIN, 0, known_loss(s), NULL);
    return st ? st : set_rate(s); /* before the forward, so that a device has it by then */
}

/* plateau waits for the loss in each iteration. */
static dn_status look_at_loss(dn_solver *s)
{
    if (!dni_schedule_reads_loss(s->param))
        return DN_OK;
    dn_status st = dni_solver_read_loss(s);
    if (!st)
        s->step =
            dni_schedule_plateau(s->param, s->iteration, s->step, known_loss(s), &s->plateau);
    return st;
}

/* From the forward to the update: all that a device need not stop for is one replay. */
static dn_status learn(dn_solver *s)
{
    dn_status st = gradients(s);
    if (!st)
        st = look_at_loss(s);
    if (st)
        return dni_in(st, "iteration %lld", (long long)s->iteration);
    s->rate = dn_solver_learning_rate(s);
    if (due(s->iteration, s->param->display)) {
        st = dni_solver_read_loss(s);
        if (!st)
            st = dni_solver_emit(s, DN_EVENT_DISPLAY, 0, known_loss(s), NULL);
    }
    if (!st)
        st = dni_solver_reduce(s);
    if (!st)
        st = dni_solver_emit(s, DN_EVENT_GRADIENTS, 0, known_loss(s), NULL);
    return st ? st : update(s);
}

static dn_status iterate(dn_solver *s)
{
    dn_status st = begin(s);
    if (st)
        return dni_in(st, "iteration %lld", (long long)s->iteration);
    dni_join_begin(&s->join, s->context);
    st = dni_join_end(&s->join, learn(s));
    if (st == DN_E_DEVICE) /* how far it came, nobody knows */
        s->unread = s->num_kept = 0;
    if (!st)
        st = dni_solver_emit(s, DN_EVENT_STEP_END, 0, known_loss(s), NULL);
    if (!st && !s->options.manual_snapshots && due(s->iteration, s->param->snapshot))
        st = dni_solver_snapshot_to(s, NULL);
    return st;
}

static dn_status run_to(dn_solver *s, int64_t stop)
{
    dn_status st = s->late;
    if (st)
        dni_restore_error(&s->late_words);
    s->late = DN_OK;
    s->running = true;
    while (!st && s->iteration < stop) {
        st = dni_solver_check_cancel(s);
        if (!st)
            st = iterate(s);
    }
    if (st)
        dni_solver_reduce_anew(s);
    s->running = false;
    return st;
}

static dn_status check_idle(const dn_solver *s)
{
    dn_status st = dni_solver_can_run(s);
    if (!st && s->running)
        st = dni_fail(DN_E_STATE, "the solver is running; a callback cannot step it");
    return st;
}

dn_status dn_solver_step(dn_solver *s, int64_t iterations)
{
    dni_clear_error();
    dn_status st = dni_solver_check_alone(s);
    return st ? st : dni_solver_step(s, iterations);
}

dn_status dni_solver_step(dn_solver *s, int64_t iterations)
{
    dn_status st = check_idle(s);
    if (st)
        return st;
    if (iterations < 0 || iterations > INT64_MAX - s->iteration)
        return dni_fail(DN_E_INVALID, "%lld iterations", (long long)iterations);
    dn_status done = run_to(s, s->iteration + iterations);
    return !done && iterations > 1 ? dni_solver_read_loss(s) : done;
}

static bool ends_with_snapshot(const dn_solver *s)
{
    return s->param->snapshot_after_train && !s->options.manual_snapshots && s->prefix;
}

/* What Caffe does once max_iter is reached: the loss and the tests of the final weights. */
static dn_status finish(dn_solver *s)
{
    const Cnn__SolverParameter *p = s->param;
    dn_status st = dni_solver_read_loss(s);
    if (!st && ends_with_snapshot(s) && !due(s->iteration, p->snapshot))
        st = dni_solver_snapshot_to(s, NULL);
    if (!st && due(s->iteration, p->display)) {
        float loss = 0;
        st = dn_net_forward(s->net, &loss);
        if (st)
            return st;
        add_loss(s, loss);
        st = dni_solver_emit(s, DN_EVENT_DISPLAY, 0, dn_solver_loss(s), NULL);
    }
    if (!st && !s->options.manual_tests && due(s->iteration, p->test_interval))
        st = dni_solver_test_all(s);
    return st;
}

dn_status dn_solver_solve(dn_solver *s)
{
    dni_clear_error();
    dn_status st = dni_solver_check_alone(s);
    return st ? st : dni_solver_solve(s);
}

dn_status dni_solver_solve(dn_solver *s)
{
    dn_status st = check_idle(s);
    if (!st && ends_with_snapshot(s)) /* a folder that is not there is found out before */
        st = dni_solver_check_folder(s);
    if (!st)
        st = run_to(s, s->max_iter);
    return st ? st : finish(s);
}
