# SPDX-License-Identifier: BSD-2-Clause
"""Small nets that the tests share, and a folder of their own to work in."""
import os
import shutil
import tempfile
import unittest

SIMPLE = '''
name: "simple"
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" }
                        bias_filler { type: "constant" value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "relu" }
layer { name: "extra" type: "ReLU" bottom: "relu" top: "extra" include { stage: "more" } }
layer { name: "drop" type: "Dropout" bottom: "relu" top: "drop" include { phase: TRAIN } }
'''

TRAINED = '''
name: "trained"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 8 dim: 5 } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 8 dim: 2 } } }
layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "ip1"
  inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "tanh" type: "TanH" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip2" bottom: "t" top: "loss" }
'''

SOLVER = '''
net: "net.prototxt"
test_iter: 2 test_interval: 1000 test_initialization: false
base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 max_iter: 20 display: 5
snapshot_prefix: "snap" random_seed: 7
'''


class InFolder(unittest.TestCase):
    """A test in a temporary working directory with net.prototxt and solver.prototxt."""

    net_text = SIMPLE

    def setUp(self):
        self.before = os.getcwd()
        self.folder = tempfile.mkdtemp()
        os.chdir(self.folder)
        self.write('net.prototxt', self.net_text)
        self.write('solver.prototxt', SOLVER)

    def tearDown(self):
        os.chdir(self.before)
        shutil.rmtree(self.folder)

    @staticmethod
    def write(name, text):
        with open(name, 'w', encoding='utf-8') as file:
            file.write(text)
