# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The Python runtime: models, calls and streams over the C core.

The core reads and writes the memory of NumPy arrays in place. Only what is not contiguous, and ids and
lengths, which are small, are copied; no array of floats is converted behind the caller's back.
"""

import os
import threading

import numpy as np

cimport cython
cimport numpy as cnp
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.pythread cimport PyThread_get_thread_ident
from cython.parallel cimport parallel
from libc.errno cimport errno
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ._lrt cimport *

from . import _shapes
from ._cgroups import quota
from .errors import FormatError, InputError, did_you_mean

cnp.import_array()

cdef enum:
    MAX_STEPS = 0x7fffffff
    MAX_BATCH = 1 << 24
    POOL = 8  # idle sessions that a model keeps

# What the writer of files must keep to: docs/format.md, section 10.
MAX_AXES, MAX_COUNT, MAX_PORTS, MAX_SIZE = LRT_MAX_AXES, LRT_MAX_COUNT, LRT_MAX_IO, LRT_MAX_SIZE
FORMAT_VERSION = LRT_FORMAT_VERSION
MAX_ACTIVATION = LRT_MAX_ACTIVATION
MAX_ROWS, MAX_PARTS, MAX_DIMS, MAX_RTOL = LRT_MAX_ROWS, LRT_NODE_INPUTS, LRT_MAX_DIMS, LRT_MAX_RTOL

include "_runtime/kernels.pxi"
include "_runtime/threads.pxi"
include "_runtime/sessions.pxi"
include "_runtime/ports.pxi"
include "_runtime/arrays.pxi"
include "_runtime/arguments.pxi"
include "_runtime/shaped.pxi"
include "_runtime/state.pxi"
include "_runtime/blobs.pxi"
include "_runtime/traces.pxi"
include "_runtime/models.pxi"
include "_runtime/steps.pxi"
include "_runtime/streams.pxi"
include "_runtime/groups.pxi"
