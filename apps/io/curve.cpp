#include "apps/io/curve.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <locale>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include "apps/io/atomic_file.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace {

struct Point {
  double epoch, nll;
};
using Series = std::vector<Point>;
using Row = std::vector<std::string>;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

}  // namespace

static std::vector<Row> read_rows(const std::filesystem::path& csv) {
  std::vector<Row> rows;
  std::istringstream lines(read_file(csv));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream cells(line.substr(0, line.find('\r')));
    Row row;
    for (std::string cell; std::getline(cells, cell, ',');) row.push_back(cell);
    rows.push_back(row);
  }
  return rows;
}

static double number(const Row& row, std::size_t column) {
  double value = std::numeric_limits<double>::quiet_NaN();
  if (column < row.size())
    std::from_chars(row[column].data(), row[column].data() + row[column].size(), value);
  return value;
}

static std::size_t column_of(const Row& header, const char* name) {
  return std::find(header.begin(), header.end(), name) - header.begin();
}

static Series read_series(const std::vector<Row>& rows, const char* name) {
  Series series;
  if (rows.empty()) return series;
  const std::size_t epoch = column_of(rows[0], "epoch"), nll = column_of(rows[0], name);
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const Point point{number(rows[i], epoch), number(rows[i], nll)};
    if (std::isfinite(point.epoch) && std::isfinite(point.nll)) series.push_back(point);
  }
  return series;
}

// A string of gnuplot's. Between single quotes nothing is special but the quote itself, for which a
// typographic one stands in.
static std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const unsigned char c : text) {
    if (c == '\'') {
      out += "\u2019";
    } else {
      out += c < ' ' ? ' ' : static_cast<char>(c);
    }
  }
  return out + "'";
}

// Of the axis: a step of 1, 2 or 5 times a power of ten, but whole epochs.
static double tick_step(double range) {
  const double power = std::pow(10, std::floor(std::log10(std::max(range / 10, 1.0))));
  for (const double step : {power, 2 * power, 5 * power})
    if (range / step <= 12) return step;
  return 10 * power;
}

static void write_axes(std::ostream& script, const Series& a, const Series& b) {
  double first = std::numeric_limits<double>::infinity(), last = -first;
  for (const Series* series : {&a, &b})
    for (const Point& point : *series) {
      first = std::min(first, point.epoch);
      last = std::max(last, point.epoch);
    }
  const double margin = std::max(0.5, 0.02 * (last - first));
  script << "set xrange [" << first - margin << ":" << last + margin << "]\n"
         << "set xtics " << tick_step(last - first) << "\n";
}

static void write_style(std::ostream& script, const std::string& title) {
  script << R"(font = 'Sans,15'
if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {
  set terminal pngcairo noenhanced size 1200,750 linewidth 1.5 background '#ffffff' font font
} else {
  set terminal png noenhanced size 1200,750 linewidth 2 font font
}
set border 3 linecolor '#555555'
set tics nomirror textcolor '#222222'
set grid linecolor '#dddddd' linetype 1 linewidth 0.7
set key top right reverse Left samplen 3 spacing 1.2 height 0.5 opaque box linecolor '#dddddd'
set offsets graph 0, graph 0, graph 0.08, graph 0.05
set lmargin 11
set rmargin 4
set format y '%.6g'
set xlabel 'epoch' offset 0,-0.3
set ylabel 'exact NLL, nats per image' offset -0.5,0
set title )"
         << quoted(title) << " font 'Sans,18'\n";
}

static void write_data(std::ostream& script, const char* name, const Series& series) {
  script << "$" << name << " << END\n";
  for (const Point& point : series) script << point.epoch << ' ' << point.nll << '\n';
  script << "END\n";
}

static std::string plot_of(const char* name, const Series& series, const char* look) {
  const bool dots = series.size() <= 60;  // more would hide the line
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
           << quoted(reference->label);
  if (!validation.empty())
    next() << plot_of("validation", validation, " pointtype 7 linecolor '#0072b2'");
  if (!test.empty()) next() << plot_of("test", test, " pointtype 5 linecolor '#d55e00'");
  script << "\n";
}

static std::string make_script(const std::string& title, const Series& validation,
                               const Series& test, const std::optional<ReferenceLine>& reference) {
  std::ostringstream script;
  script.imbue(std::locale::classic());
  script.precision(17);
  write_style(script, title);
  write_axes(script, validation, test);
  write_data(script, "validation", validation);
  write_data(script, "test", test);
  write_plots(script, validation, test, reference);
  return script.str();
}

// Whether gnuplot read the script to its end without complaint.
static bool run_gnuplot(std::FILE* script, std::FILE* picture) {
  std::string program = "gnuplot", no_user_settings = "-d";
  char* const arguments[] = {program.data(), no_user_settings.data(), nullptr};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, fileno(script), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, fileno(picture), STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = -1;
  const bool started =
      posix_spawnp(&child, program.c_str(), &files, nullptr, arguments, environ) == 0;
  posix_spawn_file_actions_destroy(&files);
  if (!started) return false;
  int status = -1;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static std::string read_all(std::FILE* file) {
  std::rewind(file);
  std::string contents;
  char block[65536];
  for (std::size_t n; (n = std::fread(block, 1, sizeof block, file)) > 0;)
    contents.append(block, n);
  return contents;
}

// The script goes in and the picture comes out through unnamed files: no path, however odd, is
// ever read as a command, and a picture replaces an old one only when it is complete.
static std::string draw(const std::string& script_text) {
  const File script(std::tmpfile()), picture(std::tmpfile());
  if (!script || !picture) return "";
  if (std::fputs(script_text.c_str(), script.get()) < 0 || std::fflush(script.get()) != 0)
    return "";
  std::rewind(script.get());
  return run_gnuplot(script.get(), picture.get()) ? read_all(picture.get()) : "";
}

bool plot_curve(const std::filesystem::path& metrics_csv, const std::filesystem::path& png,
                const std::string& title, const std::optional<ReferenceLine>& reference) try {
  const std::vector<Row> rows = read_rows(metrics_csv);
  const Series validation = read_series(rows, "validation_nll");
  const Series test = read_series(rows, "test_nll");
  if (validation.empty() && test.empty()) return false;
  const std::string picture = draw(make_script(title, validation, test, reference));
  if (!picture.starts_with("\x89PNG")) return false;
  write_file_atomically(png, picture);
  return true;
} catch (const Error&) {
  return false;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
