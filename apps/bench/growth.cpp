// How the time of a training step grows with the batch, or falls with the threads, as a picture:
//
//   ninja -C build apps/bench/growth
//   build/apps/bench/growth batch apps/readme/growth_batch.png       # 25 to 800 images
//   build/apps/bench/growth threads apps/readme/growth_threads.png   # 1 to as many as processors
//
// A third argument is the number of rounds through all points. The times are printed as CSV, too.
// How it grows with the dimension is drawn by `snf timescaling`.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "backflow/apps/bench/bench.h"
#include "backflow/apps/bench/stopwatch.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/model/datasets.h"
#include "backflow/apps/model/experiments.h"
#include "backflow/apps/pictures/gnuplot.h"
#include "backflow/engine/parallel.h"
#include "backflow/engine/processors.h"

using namespace backflow;

namespace {

// Those of a step below 100 ms, with the colour and the marker of each.
struct Subject {
  const char *experiment, *title, *color, *marker;
};
constexpr Subject subjects[] = {
    {"selfnorm_fc_mnist", "SNF FC", "#0072b2", "5"},
    {"exact_fc_mnist", "exact FC", "#d55e00", "7"},
    {"selfnorm_cnn_mnist", "SNF conv", "#009e73", "4"},
    {"exact_cnn_mnist", "exact conv", "#e69f00", "6"},
    {"emerging_cnn_mnist", "emerging", "#cc79a7", "9"},
    {"exponential_cnn_mnist", "conv-exp", "#56b4e9", "11"},
    {"geco_selfnorm_glow_mnist", "GECO Glow", "#555555", "13"},
};

enum class Axis { batch, threads };

struct Point {
  const Subject* subject;
  Index at;                // images in a batch, or threads
  std::vector<double> ms;  // of each round

  double median_ms() const { return median(ms); }
};

std::vector<Index> places(Axis axis) {
  if (axis == Axis::batch) return {25, 50, 100, 200, 400, 800};
  std::vector<Index> counts;
  const Index most = available_processors();
  for (Index count = 1; count < most; count *= 2) counts.push_back(count);
  counts.push_back(most);
  return counts;
}

double time_step(const Subject& subject, Axis axis, Index at) {
  Config config = find_experiment(subject.experiment).config;
  constexpr Index steps = 9;
  if (axis == Axis::batch) config.batch_size = at;
  if (axis == Axis::threads) set_threads(static_cast<int>(at));
  const BenchReport report = bench(config, datasets()[config.dataset].shape, steps);
  release_pooled_buffers();
  return report.median_ms();
}

// In rounds through all points, so that a while in which the machine is busy with something else
// spoils none.
std::vector<Point> measure(Axis axis, int rounds) {
  std::vector<Point> points;
  for (const Subject& subject : subjects)
    for (const Index at : places(axis)) points.push_back({&subject, at, {}});
  for (int round = 1; round <= rounds; ++round) {
    std::fprintf(stderr, "round %d of %d\n", round, rounds);
    for (Point& point : points) point.ms.push_back(time_step(*point.subject, axis, point.at));
  }
  return points;
}

void print_csv(Axis axis, const std::vector<Point>& points) {
  std::printf("experiment,%s,ms\n", axis == Axis::batch ? "batch" : "threads");
  for (const Point& point : points)
    std::printf("%s,%lld,%.4g\n", point.subject->experiment, number(point.at), point.median_ms());
}

// ---- The picture ------------------------------------------------------------------------------

// A line per experiment of (at, height of the point); its title may say more than its name.
template <class Height, class Title>
std::string lines(const std::vector<Point>& points, Height height, Title title) {
  std::string data, plots;
  for (const Subject& subject : subjects) {
    std::vector<Point> own;
    for (const Point& point : points)
      if (point.subject == &subject) own.push_back(point);
    data += text("$%s << END\n", subject.experiment);
    for (const Point& point : own)
      data += text("%lld %.17g\n", number(point.at), height(own.front(), point));
    data += "END\n";
    plots += plots.empty() ? "plot " : ", ";
    plots += text(
        "$%s using 1:2 with linespoints pointsize 1.3 linewidth 2 pointtype %s "
        "linecolor '%s' title ",
        subject.experiment, subject.marker, subject.color);
    plots += plot_string(title(subject, own));
  }
  return data + plots;
}

std::string batch_script(const std::vector<Point>& points) {
  const auto height = [](const Point&, const Point& point) { return point.median_ms(); };
  const auto title = [](const Subject& subject, const std::vector<Point>& own) {
    const double fewest = own.front().median_ms(), most = own.back().median_ms();
    return text("%s: %.3g to %.3g ms", subject.title, fewest, most);
  };
  return plot_style("Time of a training step against the images in its batch") +
         text("set ylabel 'ms per training step, %d threads'\n", threads()) +
         R"(set key outside right center width -1
set logscale xy
set xtics (25, 50, 100, 200, 400, 800)
set format y '%g'
set xrange [22:900]
set lmargin 11
set xlabel 'images in a batch' offset 0,-0.3
)" + lines(points, height, title) +
         "\n";
}

std::string threads_script(const std::vector<Point>& points) {
  const auto height = [](const Point& first, const Point& point) {
    return first.median_ms() / point.median_ms();
  };
  const auto title = [&](const Subject& subject, const std::vector<Point>& own) {
    return text("%s: %.2f", subject.title, height(own.front(), own.back()));
  };
  const double most = static_cast<double>(points.back().at);
  return plot_style("How much faster a training step is on more threads") +
         text("set xrange [0.95:%g]\nset yrange [0:%g]\n", most + 0.05, most * 1.1) +
         R"(set ylabel 'time on one thread over that time, batch of 100'
set key outside right center width -1
set xtics 1
set lmargin 11
set xlabel 'threads' offset 0,-0.3
)" + lines(points, height, title) +
         ", x with lines linewidth 1 dashtype 2 linecolor '#999999' title 'ideal'\n";
}

int usage() {
  std::fprintf(stderr,
               "growth: expected batch or threads, a file for the picture, and perhaps a "
               "number of rounds from 1 to 100\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string what = argc > 1 ? argv[1] : "";
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 3;
  if (argc < 3 || argc > 4 || (what != "batch" && what != "threads") || rounds < 1 || rounds > 100)
    return usage();
  const Axis axis = what == "batch" ? Axis::batch : Axis::threads;
  const std::vector<Point> points = measure(axis, rounds);
  print_csv(axis, points);
  const std::string script = axis == Axis::batch ? batch_script(points) : threads_script(points);
  if (draw_plot(script, argv[2])) return 0;
  std::fprintf(stderr, "growth: no picture: gnuplot is missing, or fails\n");
  return 1;
} catch (const Error& error) {
  std::fprintf(stderr, "growth: %s\n", error.what());
  return 2;
}
