#include "backflow/engine/processors.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double unlimited = std::numeric_limits<double>::infinity();

// "150000 100000" is 1.5 processors, "max 100000" no limit; so is all that is not two such numbers.
double ratio(std::istream& quota, std::istream& period) {
  double allowed = 0, of = 0;
  if (!(quota >> allowed) || !(period >> of) || !(allowed > 0) || !(of > 0)) return unlimited;
  return allowed / of;
}

double quota_v2(const std::string& group) {
  std::ifstream both(group + "/cpu.max");
  return ratio(both, both);
}

double quota_v1(const std::string& group) {
  std::ifstream quota(group + "/cpu.cfs_quota_us"), period(group + "/cpu.cfs_period_us");
  return ratio(quota, period);
}

// The least quota of `path` below `mount` and of what is above it, the mount itself included.
template <class Quota>
double least_on_the_way_up(const std::string& mount, std::string path, const Quota& quota) {
  double least = unlimited;
  for (;;) {
    least = std::min(least, quota(mount + path));
    const std::size_t parent = path.rfind('/');
    if (parent == std::string::npos) return least;
    path.resize(parent);
  }
}

int processors_of_this_thread() {
#if defined(__linux__)
  for (int most = 1024; most <= 1 << 20; most *= 2) {  // the kernel refuses a set that is too small
    cpu_set_t* const set = CPU_ALLOC(most);
    if (!set) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(most);
    const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

// A line of /proc/self/cgroup is "4:cpu,cpuacct:/some/group" of v1, "0::/some/group" of v2.
double cgroup_quota(const std::string& root) {
  double least = unlimited;
  std::ifstream memberships(root + "/proc/self/cgroup");
  const std::string mount = root + "/sys/fs/cgroup";
  for (std::string line; std::getline(memberships, line);) {
    std::istringstream parts(line);
    std::string number, controllers, path;
    std::getline(std::getline(std::getline(parts, number, ':'), controllers, ':'), path);
    if (!parts || path.front() != '/') continue;
    while (path.ends_with('/')) path.pop_back();
    if (controllers.empty()) {
      for (const char* place : {"", "/unified"})  // the second where v1 has the first
        least = std::min(least, least_on_the_way_up(mount + place, path, quota_v2));
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      for (const std::string& place : {controllers, std::string("cpu")})
        least = std::min(least, least_on_the_way_up(mount + "/" + place, path, quota_v1));
    }
  }
  return least;
}

int available_processors() {
  const int processors = processors_of_this_thread();
  const double quota = std::ceil(cgroup_quota("/"));
  return quota < processors ? std::max(1, static_cast<int>(quota)) : processors;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
