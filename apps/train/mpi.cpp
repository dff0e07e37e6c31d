#include "backflow/apps/train/mpi.h"

#include <chrono>
#include <cstdlib>
#include <thread>

#if BACKFLOW_MPI
#define OMPI_SKIP_MPICXX 1  // only C's functions
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "backflow/engine/parallel.h"
#include "backflow/engine/processors.h"
#endif

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// What all ranks have to say, the first one says: the others wait so long before they do.
constexpr std::chrono::seconds patience{5};

// What mpirun tells, if it was mpirun that started this process: that of Open MPI, or of PMI.
int told_by_mpirun(const char* of_open_mpi, const char* of_pmi) {
  for (const char* name : {of_open_mpi, of_pmi})
    if (const char* number = std::getenv(name)) return std::atoi(number);
  return 0;
}

#if BACKFLOW_MPI

class RanksOfMpi : public Ranks {
 public:
  RanksOfMpi() {
    int given = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &given);  // only this thread calls MPI
    MPI_Comm_size(MPI_COMM_WORLD, &count_);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    share_processors();
  }

  // mpirun stops all processes when one goes without MPI_Finalize, and would wait for them if it
  // did not.
  ~RanksOfMpi() override {
    if (!abandoned_) MPI_Finalize();
  }
  void abandon() override {
    abandoned_ = true;
    if (!is_first()) std::this_thread::sleep_for(patience);
  }

  Index count() const override { return count_; }
  Index rank() const override { return rank_; }

  void exchange(Index other, std::span<const std::byte> sent,
                std::span<std::byte> received) override {
    constexpr std::size_t most = 1u << 30;  // MPI counts in int
    do {
      const auto to = sent.first(std::min(sent.size(), most));
      const auto from = received.first(std::min(received.size(), most));
      MPI_Sendrecv(to.data(), static_cast<int>(to.size()), MPI_BYTE, static_cast<int>(other), 0,
                   from.data(), static_cast<int>(from.size()), MPI_BYTE, static_cast<int>(other), 0,
                   MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      sent = sent.subspan(to.size());
      received = received.subspan(from.size());
    } while (!sent.empty() || !received.empty());
  }

 private:
  // mpirun binds a process to one processor, or to some, unless it is told otherwise: that suits
  // programs of one thread. Where nobody asked for it, those of mpirun itself are taken back first.
  static void share_processors() {
    cpu_set_t of_mpirun;
    if (!binding_was_asked_for() && sched_getaffinity(getppid(), sizeof of_mpirun, &of_mpirun) == 0)
      sched_setaffinity(0, sizeof of_mpirun, &of_mpirun);
    MPI_Comm machine;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    int ranks_here = 1;
    MPI_Comm_size(machine, &ranks_here);
    MPI_Comm_free(&machine);
    set_threads(std::max(1, available_processors() / ranks_here));
  }

  // By --bind-to, --cpu-set or --map-by, as Open MPI hands them on.
  static bool binding_was_asked_for() {
    for (const char* name :
         {"OMPI_MCA_hwloc_base_binding_policy", "OMPI_MCA_hwloc_base_cpu_list",
          "OMPI_MCA_rmaps_base_mapping_policy", "PRTE_MCA_hwloc_default_binding_policy"})
      if (std::getenv(name)) return true;
    return false;
  }

  int count_ = 1, rank_ = 0;
  bool abandoned_ = false;
};

#endif

}  // namespace

std::unique_ptr<Ranks> join_ranks() {
  const int started = told_by_mpirun("OMPI_COMM_WORLD_SIZE", "PMI_SIZE");
#if BACKFLOW_MPI
  if (started > 0) {
    auto ranks = std::make_unique<RanksOfMpi>();
    if (ranks->count() != started)
      fail("mpirun", "started ", started, " processes, but MPI knows of ", ranks->count(),
           ": is it the mpirun of the MPI that this program was built with?");
    return ranks;
  }
#else
  if (started > 1) {
    if (told_by_mpirun("OMPI_COMM_WORLD_RANK", "PMI_RANK") > 0)
      std::this_thread::sleep_for(patience);
    fail("mpirun", "started ", started,
         " processes, but this program was built without MPI: configure the build with "
         "-Dmpi=enabled");
  }
#endif
  return std::make_unique<OneRank>();
}

}  // namespace backflow::inline BACKFLOW_PRECISION
