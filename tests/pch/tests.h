// Precompiled: what most tests include and is slow to read.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "engine/gradcheck.h"
#include "ops/pointwise.h"
