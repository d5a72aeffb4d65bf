/* What each error code says. */
#include "lstm_rt.h"

const char *lrt_error_text(int error)
{
    switch (error) {
    case LRT_OK: return "no error";
    case LRT_E_SHORT: return "shorter than the header of an .lrt file";
    case LRT_E_MAGIC: return "not an .lrt file: it does not begin with the magic number";
    case LRT_E_VERSION: return "an .lrt format version that this runtime does not read";
    case LRT_E_SIZE: return "truncated or padded: its size is not the one in its header";
    case LRT_E_ALIGNMENT: return "the address of the blob is not a multiple of 64";
    case LRT_E_ENDIAN: return "big-endian machines are not supported";
    case LRT_E_COUNTS: return "a count in the header is zero where it must not be, or over its limit";
    case LRT_E_TABLES: return "its tables do not fit in it, or a reserved field is not zero";
    case LRT_E_TENSOR: return "a tensor is outside the file, misaligned, or of a size that does not fit its shape";
    case LRT_E_VALUE: return "a value has an unknown kind, or a size or time axis that does not fit its kind";
    case LRT_E_OP: return "it uses an op that this runtime does not know";
    case LRT_E_NODE_INPUT: return "a node reads a value that is not there yet, or is of the wrong kind or size";
    case LRT_E_NODE_OUTPUT: return "a node writes a value out of order, or of the wrong kind or size";
    case LRT_E_NODE_ATTR: return "an attribute of a node is out of range";
    case LRT_E_NODE_TENSOR: return "a weight of a node is missing, unexpected or of the wrong shape";
    case LRT_E_INTERFACE: return "its lists of inputs and outputs are wrong";
    case LRT_E_STRING: return "a name lies outside its table of names";
    case LRT_E_SELFTEST: return "its self-test record is wrong";
    case LRT_E_CHECKSUM: return "the checksum does not match: the file is damaged";
    case LRT_E_OP_LEFT_OUT: return "it uses an op that this build of the runtime leaves out";
    case LRT_E_AXIS: return "the rule of a time axis is out of range";
    case LRT_E_ARGUMENT: return "a NULL or out-of-range argument";
    case LRT_E_MEMORY: return "session memory is too small or not aligned to 64 bytes";
    case LRT_E_TOO_LARGE: return "the session needs more memory than can be addressed";
    case LRT_E_BATCH: return "more rows than the session was made for";
    case LRT_E_STEPS: return "more time steps than the session was made for";
    case LRT_E_LENGTH: return "a length is negative or larger than the number of steps";
    case LRT_E_TOKEN: return "a token id is outside the table of the embedding";
    case LRT_E_STREAM: return "the model cannot run step by step: it needs the whole sequence";
    case LRT_E_STEP_COUNT: return "a sequence has not the number of steps that the model takes";
    case LRT_E_TRACE: return "the call has a trace, which this build leaves out";
    case LRT_E_STOPPED: return "the call was stopped before its end";
    default: return "unknown error";
    }
}
