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

#include "backflow/engine/parallel.h"
#include "backflow/engine/record.h"
