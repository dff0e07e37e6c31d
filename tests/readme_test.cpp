// The README's examples, as they stand there.
#include <gtest/gtest.h>

#include "backflow/engine/gradcheck.h"
#include "backflow/engine/random.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

#include "add_op.inc"
#include "add_op_test.inc"
#include "override.inc"
#include "override_test.inc"

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
