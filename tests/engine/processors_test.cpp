#include "backflow/engine/processors.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

#if defined(__linux__)
#include <sched.h>

#include <thread>
#endif

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;
constexpr double unlimited = std::numeric_limits<double>::infinity();

// The quota of a machine with these files.
double quota(const std::map<std::string, std::string>& files) {
  std::string root = (fs::temp_directory_path() / "backflow_cgroup_XXXXXX").string();
  if (!mkdtemp(root.data())) return -1;
  for (const auto& [name, text] : files) {
    const fs::path path = root + "/" + name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  const double found = cgroup_quota(root);
  fs::remove_all(root);
  return found;
}

TEST(CgroupQuota, OfVersionTwoIsCpuMax) {
  const std::string mine = "0::/user/session\n";
  EXPECT_EQ(quota({{"proc/self/cgroup", mine},
                   {"sys/fs/cgroup/user/session/cpu.max", "150000 100000\n"}}),
            1.5);
  EXPECT_EQ(
      quota({{"proc/self/cgroup", mine}, {"sys/fs/cgroup/user/session/cpu.max", "max 100000\n"}}),
      unlimited);
}

TEST(CgroupQuota, IsTheLeastOnTheWayUp) {
  const auto of = [](const char* own, const char* parent, const char* top) {
    return quota({{"proc/self/cgroup", "0::/a/b\n"},
                  {"sys/fs/cgroup/a/b/cpu.max", own},
                  {"sys/fs/cgroup/a/cpu.max", parent},
                  {"sys/fs/cgroup/cpu.max", top}});
  };
  EXPECT_EQ(of("400000 100000", "200000 100000", "max 100000"), 2);
  EXPECT_EQ(of("max 100000", "max 100000", "300000 100000"), 3);
  EXPECT_EQ(of("50000 100000", "200000 100000", "300000 100000"), 0.5);
}

TEST(CgroupQuota, InAContainerStandsAtTheRoot) {
  EXPECT_EQ(quota({{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "250000 100000"}}),
            2.5);
  EXPECT_EQ(quota({{"proc/self/cgroup", "0::/seen/from/outside\n"},
                   {"sys/fs/cgroup/cpu.max", "250000 100000"}}),
            2.5);
}

TEST(CgroupQuota, OfVersionOneIsCfsQuotaOverPeriod) {
  const std::string mine = "7:memory:/m\n4:cpu,cpuacct:/box\n1:name=systemd:/x\n";
  EXPECT_EQ(quota({{"proc/self/cgroup", mine},
                   {"sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "120000\n"},
                   {"sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "80000\n"}}),
            1.5);
  EXPECT_EQ(quota({{"proc/self/cgroup", "4:cpu:/box/inner\n"},
                   {"sys/fs/cgroup/cpu/box/inner/cpu.cfs_quota_us", "-1\n"},
                   {"sys/fs/cgroup/cpu/box/inner/cpu.cfs_period_us", "100000\n"},
                   {"sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "300000\n"},
                   {"sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n"}}),
            3);
}

TEST(CgroupQuota, OfBothVersionsIsTheLeast) {
  EXPECT_EQ(quota({{"proc/self/cgroup", "3:cpu:/a\n0::/a\n"},
                   {"sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "400000"},
                   {"sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000"},
                   {"sys/fs/cgroup/unified/a/cpu.max", "200000 100000"}}),
            2);
}

TEST(CgroupQuota, OfOtherControllersDoesNotCount) {
  EXPECT_EQ(quota({{"proc/self/cgroup", "3:cpuset:/a\n4:xcpu:/a\n"},
                   {"sys/fs/cgroup/cpuset/a/cpu.cfs_quota_us", "100000"},
                   {"sys/fs/cgroup/cpuset/a/cpu.cfs_period_us", "100000"},
                   {"sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "100000"},
                   {"sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000"}}),
            unlimited);
}

TEST(CgroupQuota, OfWhatMakesNoSenseIsNone) {
  EXPECT_EQ(quota({}), unlimited);
  for (const char* line : {"", "0", "0::", "0::relative\n", "::::\n", "0:/a\n"})
    EXPECT_EQ(quota({{"proc/self/cgroup", line}, {"sys/fs/cgroup/a/cpu.max", "100000 100000"}}),
              unlimited)
        << line;
  for (const char* text : {"", "1", "x y", "-1 100000", "0 100000", "100000 0", "nan 1", "max max"})
    EXPECT_EQ(quota({{"proc/self/cgroup", "0::/a\n"}, {"sys/fs/cgroup/a/cpu.max", text}}),
              unlimited)
        << text;
}

TEST(AvailableProcessors, AreAtLeastOneAndNoMoreThanThereAre) {
  EXPECT_GE(available_processors(), 1);
  EXPECT_LE(available_processors(), std::max(1u, std::thread::hardware_concurrency()));
}

#if defined(__linux__)
TEST(AvailableProcessors, FollowTheAffinityOfTheThread) {
  std::thread([] {
    cpu_set_t all, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    int first = 0;
    while (!CPU_ISSET(first, &all)) ++first;
    CPU_SET(first, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(available_processors(), 1);
  }).join();
}
#endif

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION
