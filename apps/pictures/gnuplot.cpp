#include "backflow/apps/pictures/gnuplot.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "backflow/apps/files/atomic_file.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

}  // namespace

// Between single quotes nothing is special but the quote itself, for which a typographic one stands
// in.
std::string plot_string(const std::string& text) {
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

std::string plot_style(const std::string& title) {
  return R"(font = 'Sans,15'
if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {
  set terminal pngcairo noenhanced size 1200,750 linewidth 1.5 background '#ffffff' font font
} else {
  set terminal png noenhanced size 1200,750 linewidth 2 font font
}
set border 3 linecolor '#555555'
set tics nomirror textcolor '#222222'
set grid linecolor '#dddddd' linetype 1 linewidth 0.7
set key reverse Left samplen 3 spacing 1.2 height 0.5 opaque box linecolor '#dddddd'
set title )" +
         plot_string(title) + " font 'Sans,18'\n";
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
std::string draw_plot(const std::string& script_text) {
  const File script(std::tmpfile()), picture(std::tmpfile());
  if (!script || !picture) return "";
  if (std::fputs(script_text.c_str(), script.get()) < 0 || std::fflush(script.get()) != 0)
    return "";
  std::rewind(script.get());
  if (!run_gnuplot(script.get(), picture.get())) return "";
  std::string png = read_all(picture.get());
  return png.starts_with("\x89PNG") ? png : "";
}

bool draw_plot(const std::string& script, const std::filesystem::path& png) {
  const std::string picture = draw_plot(script);
  if (picture.empty()) return false;
  write_file_atomically(png, picture);
  return true;
}

}  // namespace backflow::inline BACKFLOW_PRECISION
