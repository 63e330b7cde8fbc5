# SPDX-License-Identifier: BSD-2-Clause
# What the C structs need beside the schema: protobuf-c calls the head of a struct `base`, and
# these two messages have a field of that name. Kept out of cnn.proto, which any protoc reads.
/^package cnn;/a\
import "protobuf-c/protobuf-c.proto";
/^message \(Exp\|Log\)Parameter {/a\
  option (pb_c_msg).base_field_name = "message";
