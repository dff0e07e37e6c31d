#include "backflow/apps/pictures/curve.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <locale>
#include <sstream>
#include <utility>
#include <vector>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/pictures/gnuplot.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace {

struct Point {
  double epoch, nll;
};
using Series = std::vector<Point>;

}  // namespace

static void add(Series& series, double epoch, double nll) {
  if (std::isfinite(epoch) && std::isfinite(nll)) series.push_back({epoch, nll});
}

// The step between two ticks of the axis: 1, 2 or 5 times a power of ten, but whole epochs.
static double tick_step(double range) {
  const double power = std::pow(10, std::floor(std::log10(std::max(range / 10, 1.0))));
  for (const double step : {power, 2 * power, 5 * power})
    if (range / step <= 12) return step;
  return 10 * power;
}

static constexpr std::size_t most_dots = 60;  // more would hide the line; a longer run is long

// The NLL at which the picture of a long run ends, if it is to end below the highest.
struct Top {
  double nll;
  std::size_t above;  // points
};

// Of NLLs that only fall, the one after ten epochs, or 3% of them. The run is drawn whole where all
// that lies above takes no more room than the rest.
static std::optional<Top> find_top(const Series& series,
                                   const std::optional<ReferenceLine>& reference) {
  if (series.size() <= most_dots) return {};
  std::vector<double> highest_first;
  for (const Point& point : series) highest_first.push_back(point.nll);
  std::sort(highest_first.begin(), highest_first.end(), std::greater<>());
  const std::size_t above = std::max<std::size_t>(10, series.size() * 3 / 100) - 1;
  double top = highest_first[above], least = highest_first.back();
  if (reference) {
    top = std::max(top, reference->value);
    least = std::min(least, reference->value);
  }
  if (highest_first.front() - top <= top - least) return {};
  return Top{top, static_cast<std::size_t>(std::count_if(highest_first.begin(), highest_first.end(),
                                                         [top](double nll) { return nll > top; }))};
}

static std::string points_above(const std::optional<Top>& top, const Series& series) {
  if (!top) return "";
  return " (" + std::to_string(top->above) + " points of " + std::to_string(series.size()) +
         " lie above the picture)";
}

static void write_axes(std::ostream& script, const Series& a, const Series& b,
                       const std::optional<ReferenceLine>& reference, const CurveAxes& axes) {
  double first = std::numeric_limits<double>::infinity(), last = -first;
  for (const Series* series : {&a, &b})
    for (const Point& point : *series) {
      first = std::min(first, point.epoch);
      last = std::max(last, point.epoch);
    }
  const Series& longer = a.size() < b.size() ? b : a;
  const std::optional<Top> top = find_top(longer, reference);
  const double margin = std::max(0.5, 0.02 * (last - first));
  script << "set xrange [" << first - margin << ":" << last + margin << "]\n"
         << "set xtics " << tick_step(last - first) << "\n"
         << "set key top right\n"
         << "set offsets graph 0, graph 0, graph " << (top ? "0" : "0.08") << ", graph 0.05\n"
         << R"(set lmargin 11
set rmargin 4
set format y '%.6g'
)"
         << "set xlabel " << plot_string(axes.time + points_above(top, longer))
         << " offset 0,-0.3\n"
         << "set ylabel " << plot_string(axes.loss) << " offset -0.5,0\n";
  if (top) script << "set yrange [:" << top->nll << "]\n";
}

static void write_data(std::ostream& script, const char* name, const Series& series) {
  script << "$" << name << " << END\n";
  for (const Point& point : series) script << point.epoch << ' ' << point.nll << '\n';
  script << "END\n";
}

static std::string plot_of(const char* name, const Series& series, const char* look) {
  const bool dots = series.size() <= most_dots;
  return std::string("$") + name + " using 1:2 with " +
         (series.size() == 1 ? "points pointsize 1.8"
          : dots             ? "linespoints pointsize 1.1 linewidth 2"
                             : "lines linewidth 2") +
         look + " title '" + name + "'";
}

static void write_plots(std::ostream& script, const Series& validation, const Series& test,
                        const std::optional<ReferenceLine>& reference) {
  const char* separator = "plot ";
  const auto next = [&]() -> std::ostream& { return script << std::exchange(separator, ", "); };
  if (reference)
    next() << reference->value << " with lines dashtype 2 linewidth 1.5 linecolor '#444444' title "
           << plot_string(reference->label);
  if (!validation.empty())
    next() << plot_of("validation", validation, " pointtype 7 linecolor '#0072b2'");
  if (!test.empty()) next() << plot_of("test", test, " pointtype 5 linecolor '#d55e00'");
  script << "\n";
}

static std::string make_script(const std::string& title, const Series& validation,
                               const Series& test, const std::optional<ReferenceLine>& reference,
                               const CurveAxes& axes) {
  std::ostringstream script;
  script.imbue(std::locale::classic());
  script.precision(17);
  script << plot_style(title);
  write_axes(script, validation, test, reference, axes);
  write_data(script, "validation", validation);
  write_data(script, "test", test);
  write_plots(script, validation, test, reference);
  return script.str();
}

bool plot_curve(const std::vector<CurvePoint>& points, const std::filesystem::path& png,
                const std::string& title, const std::optional<ReferenceLine>& reference,
                const CurveAxes& axes) {
  Series validation, test;
  for (const CurvePoint& point : points) {
    add(validation, point.epoch, point.validation_nll);
    if (point.test_nll) add(test, point.epoch, *point.test_nll);
  }
  if (validation.empty() && test.empty()) return false;
  return draw_plot(make_script(title, validation, test, reference, axes), png);
}

}  // namespace backflow::inline BACKFLOW_PRECISION
