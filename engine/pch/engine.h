// Precompiled: what most sources include and is slow to read.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "engine/parallel.h"
#include "engine/record.h"
