// Precompiled: what most tests include and is slow to read.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
