// The README's examples, as they stand there.
#include <gtest/gtest.h>

#include "engine/gradcheck.h"
#include "engine/random.h"
#include "ops/linalg.h"
#include "ops/pointwise.h"
#include "ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

#include "add_op.inc"
#include "add_op_test.inc"
#include "override.inc"
#include "override_test.inc"

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
