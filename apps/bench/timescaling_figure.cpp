#include "backflow/apps/bench/timescaling_figure.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "backflow/apps/bench/timescaling.h"
#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/pictures/gnuplot.h"
#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::array kinds{LayerKind::fc, LayerKind::conv};
constexpr std::array methods{Method::exact, Method::self_normalizing};

const char* title_of(LayerKind kind) { return kind == LayerKind::fc ? "FC" : "conv 3x3"; }
const char* title_of(Method method) {
  return method == Method::exact ? "exact" : "self-normalizing";
}

struct Files {
  fs::path csv, png;
};

Files prepare(const fs::path& out) {
  std::error_code error;
  fs::create_directories(out, error);
  if (error)
    fail(out.string(), "cannot make the directory: ", error.message(),
         "; choose another with --out");
  return {out / "timescaling.csv", out / "timescaling.png"};
}

Curve curve_of(const Curve& points, LayerKind kind, Method method) {
  Curve curve;
  for (const TimedPoint& point : points)
    if (point.kind == kind && point.method == method) curve.push_back(point);
  return curve;
}

PowerLaw power_law(const Curve& points, LayerKind kind, Method method) {
  return fit_power_law(curve_of(points, kind, method));
}

Crossover crossover(const Curve& points, LayerKind kind) {
  return find_crossover(curve_of(points, kind, Method::exact),
                        curve_of(points, kind, Method::self_normalizing));
}

// ---- The files --------------------------------------------------------------------------------

std::string as_csv(const Curve& points) {
  std::string csv = "layer,method,D,steps,ms_median,ms_min\n";
  for (const TimedPoint& point : points)
    csv += text("%s,%s,%lld,%lld,%.6g,%.6g\n", name_of(point.kind), name_of(point.method),
                number(point.image.size()), number(std::ssize(point.ms)), point.median(),
                point.least());
  return csv;
}

struct Look {
  const char *color, *marker;
};
Look look_of(LayerKind kind, Method method) {
  const bool exact = method == Method::exact;
  if (kind == LayerKind::fc) return exact ? Look{"#d55e00", "7"} : Look{"#0072b2", "5"};
  return exact ? Look{"#e69f00", "6"} : Look{"#009e73", "4"};
}

// Where the axis of times ends: at a power of ten, and well above the curves, where the key is.
double room_above(const Curve& points) {
  double most = 0;
  for (const TimedPoint& point : points) most = std::max(most, point.least());
  return std::pow(10, std::ceil(std::log10(most) + 0.3));
}

std::string plot_script(const Curve& points, Index batch_size) {
  std::string script = plot_style("Time of a training step of one layer against its dimension");
  std::string plots;
  for (const LayerKind kind : kinds)
    for (const Method method : methods) {
      const std::string data = text("$%s_%s", name_of(kind), name_of(method));
      script += data + " << END\n";
      for (const TimedPoint& point : curve_of(points, kind, method))
        script += text("%.17g %.17g\n", point.D(), point.least());
      script += "END\n";
      const Look look = look_of(kind, method);
      plots += plots.empty() ? "plot " : ", ";
      plots += data + " using 1:2 with linespoints pointsize 1.3 linewidth 2";
      plots += text(" pointtype %s linecolor '%s' title '%s, %s: D^%.2f'", look.marker, look.color,
                    title_of(kind), title_of(method), power_law(points, kind, method).exponent);
    }
  script += text("set xrange [%g:%g]\n", points.front().D() / 1.15, points.back().D() * 1.15);
  script += text("set yrange [*:%g]\n", room_above(points));
  script += text("set ylabel 'ms per training step, batch of %lld'\n", number(batch_size));
  script += R"(set key top left width -4
set logscale xy
set xtics (32, 64, 128, 256, 512, 1024, 2048, 4064)
set mytics 10
set format y '%g'
set lmargin 11
set rmargin 4
set xlabel 'dimension D' offset 0,-0.3
)";
  return script + plots + "\n";
}

// ---- What is printed --------------------------------------------------------------------------

void print_head(Index batch_size) {
  std::printf("One layer, batches of %lld, %d threads: ms per training step, the least so far\n\n",
              number(batch_size), threads());
  std::printf("%14s  %30s  %30s\n", "", "fully connected", "convolution 3x3");
  std::printf("%5s %8s", "D", "image");
  for (std::size_t i = 0; i < kinds.size(); ++i)
    std::printf("  %12s %17s", title_of(Method::exact), title_of(Method::self_normalizing));
  std::printf("\n");
}

void print_round_begin(int round, int rounds) { std::printf("round %d of %d\n", round, rounds); }

void print_row_begin(const ImageShape& image) {
  const std::string size = text("%lldx%lld", number(image.height), number(image.width));
  std::printf("%5lld %8s", number(image.size()), size.c_str());
}

void print_cell(const TimedPoint& point) {
  std::printf(point.method == Method::exact ? "  %12.3f" : " %17.3f", point.least());
  std::fflush(stdout);
}

void print_exponents(const Curve& points) {
  std::printf("\nms ~ D^k, by least squares over D >= %lld:",
              number(power_law(points, LayerKind::fc, Method::exact).from));
  const char* separator = "";
  for (const LayerKind kind : kinds)
    for (const Method method : methods) {
      std::printf("%s %s %s %.2f", separator, title_of(kind), title_of(method),
                  power_law(points, kind, method).exponent);
      separator = ",";
    }
  std::printf("\n");
}

std::string crossover_sentence(const Curve& points, LayerKind kind) {
  const Crossover found = crossover(points, kind);
  const Method slower = found.faster == Method::exact ? Method::self_normalizing : Method::exact;
  const std::string faster = text("%s: the %s step is faster than the %s one ", title_of(kind),
                                  title_of(found.faster), title_of(slower));
  if (found.D) return faster + text("from D = %.0f on.", *found.D);
  return faster + text("at every D from %.0f to %.0f.", points.front().D(), points.back().D());
}

// The curve is that of fully connected layers; the point is the first that was timed at no less
// than `D`, or the last.
struct MeasuredPrice {
  double D, price;
};
MeasuredPrice price_at(double D, const Curve& points, Index batch_size) {
  const Curve exact = curve_of(points, LayerKind::fc, Method::exact);
  std::size_t i = 0;
  while (i + 1 < exact.size() && exact[i].D() < D) ++i;
  const Curve other = curve_of(points, LayerKind::fc, Method::self_normalizing);
  return {exact[i].D(), lu_price(exact[i], other[i], batch_size)};
}

void print_why_fc(const Curve& points, Index batch_size) {
  // The products have all threads, the inverse of a single layer one.
  const double expected = fc_crossover_at(threads(), batch_size);
  const MeasuredPrice there = price_at(expected, points, batch_size);
  const MeasuredPrice last = price_at(points.back().D(), points, batch_size);
  std::printf(
      "    An exact step is half a self-normalizing one, three of its six products of 2 B D^2\n"
      "    flop, and the inverse of its matrix of 2 D^3 flop. If a flop of that costs p of the\n"
      "    products', the steps take as long at D = 3 B / p: at %.0f if p is %d, the number of\n"
      "    threads, of which the inverse has one. Here p is %.1f at D = %.0f",
      expected, threads(), there.price, there.D);
  if (last.D > there.D) std::printf(" and %.1f at %.0f", last.price, last.D);
  std::printf(".\n");
}

void print_why_conv(const Curve& points) {
  const double exact = curve_of(points, LayerKind::conv, Method::exact).back().least();
  const double other = curve_of(points, LayerKind::conv, Method::self_normalizing).back().least();
  std::printf(
      "    An exact step is half a self-normalizing one, three of its six convolutions of 18 B D\n"
      "    flop, and the LU of a banded matrix and its gradient, of flop in proportion to\n"
      "    H W^3 = D^2 / 4, on one thread: at D = %.0f, %.0f%% of the step.\n",
      points.back().D(), 100 * (1 - other / (2 * exact)));
}

Json as_json(const TimescalingOptions& options, const Curve& points, const Files& files,
             bool drawn) {
  Json rows = Json::array(), exponents, crossovers;
  for (const TimedPoint& point : points)
    rows.push_back({{"layer", name_of(point.kind)},
                    {"method", name_of(point.method)},
                    {"D", point.image.size()},
                    {"steps", point.ms.size()},
                    {"ms_median", point.median()},
                    {"ms_min", point.least()}});
  for (const LayerKind kind : kinds) {
    for (const Method method : methods)
      exponents[name_of(kind)][name_of(method)] = power_law(points, kind, method).exponent;
    const Crossover found = crossover(points, kind);
    crossovers[name_of(kind)] = {{"D", found.D ? Json(*found.D) : Json()},
                                 {"faster", name_of(found.faster)}};
  }
  const double expected = fc_crossover_at(threads(), options.batch_size);
  crossovers["fc"]["expected_D"] = expected;
  crossovers["fc"]["measured_lu_price"] = price_at(expected, points, options.batch_size).price;
  return {{"threads", threads()},
          {"batch_size", options.batch_size},
          {"points", rows},
          {"exponents_from_D", power_law(points, LayerKind::fc, Method::exact).from},
          {"exponents", exponents},
          {"crossover", crossovers},
          {"csv", files.csv.string()},
          {"png", drawn ? Json(files.png.string()) : Json()}};
}

// A point's times of another round join those it has.
const TimedPoint& add(Curve& points, std::size_t which, TimedPoint point) {
  if (which == points.size()) {
    points.push_back(std::move(point));
  } else {
    points[which].ms.insert(points[which].ms.end(), point.ms.begin(), point.ms.end());
  }
  return points[which];
}

// In rounds through all dimensions, so that a while in which the machine is busy with something
// else spoils no point.
Curve measure(const TimescalingOptions& options, const fs::path& csv) {
  constexpr int rounds = 3;
  Curve points;
  if (!options.json) print_head(options.batch_size);
  for (int round = 1; round <= rounds; ++round) {
    if (!options.json) print_round_begin(round, rounds);
    std::size_t which = 0;
    for (const ImageShape& image : timescaling_images(options.max_dim)) {
      if (!options.json) print_row_begin(image);
      for (const LayerKind kind : kinds)
        for (const Method method : methods) {
          const TimedPoint& point =
              add(points, which++, time_layer(kind, method, image, options.batch_size));
          release_pooled_buffers();
          write_file_atomically(csv, as_csv(points));
          if (!options.json) print_cell(point);
        }
      if (!options.json) std::printf("\n");
    }
  }
  return points;
}

}  // namespace

void draw_timescaling(const TimescalingOptions& options) {
  const Files files = prepare(options.out);
  const Curve points = measure(options, files.csv);
  const bool drawn = draw_plot(plot_script(points, options.batch_size), files.png);
  if (options.json) {
    const Json json = as_json(options, points, files, drawn);
    // A path may be no UTF-8.
    std::printf("%s\n", json.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    return;
  }
  print_exponents(points);
  std::printf("%s\n", crossover_sentence(points, LayerKind::fc).c_str());
  print_why_fc(points, options.batch_size);
  std::printf("%s\n", crossover_sentence(points, LayerKind::conv).c_str());
  print_why_conv(points);
  std::printf("times:  %s\n", files.csv.c_str());
  if (drawn)
    std::printf("figure: %s\n", files.png.c_str());
  else
    std::printf("no figure: gnuplot is missing, or fails\n");
}

}  // namespace backflow::inline BACKFLOW_PRECISION
