//! What the program writes to standard error: its log, panic messages, and messages of the tasks.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::sync::Arc;
use std::{env, panic, thread};

use kadring::console::{Screen, Stderr, escape};
use kadring::runtime::own_digits;

/// Sends what the program logs to `screen`, from `level` on unless `RUST_LOG` says otherwise.
pub(crate) fn log_to(screen: &Arc<Screen>, level: &str) {
    let stderr = Stderr::of_process(screen);
    let asked = env::var("RUST_LOG").unwrap_or_else(|_| level.to_owned());
    let (spec, strange) = understood(&asked);
    let logger = env_logger::Builder::new()
        .parse_filters(&spec)
        .parse_write_style(&env::var("RUST_LOG_STYLE").unwrap_or_default())
        // What prints a line must not log while it does.
        .filter_module("rustyline", log::LevelFilter::Off)
        .format(|out, record| {
            // The date first, to the microsecond: so the logs of several peers merge by `sort`.
            let (time, level, text) = (out.timestamp_micros(), record.level(), record.args().to_string());
            let (peer, thread) = (own_digits(), thread::current());
            writeln!(out, "{time} {level:5} {peer} {:11} {}", thread.name().unwrap_or("-"), escape(&text))
        })
        .target(env_logger::Target::Pipe(Box::new(Logged(stderr))))
        .build();
    log::set_max_level(logger.filter());
    // There is one task, and so one logger.
    let _ = log::set_boxed_logger(Box::new(Logger { logger, stderr }));
    for part in strange {
        stderr.say(&format!("kadring: RUST_LOG is not understood where it says '{}'; that is ignored\n", escape(part)));
    }
}

/// Splits a logging specification into the part that is understood and the parts that are not. The logger itself would
/// report the latter on standard error directly.
fn understood(spec: &str) -> (String, Vec<&str>) {
    let (parts, pattern) = spec.find('/').map_or((spec, ""), |at| spec.split_at(at));
    if pattern.matches('/').count() > 1 {
        return (String::new(), vec![spec]);
    }
    let is_level = |level: &str| level.is_empty() || level.parse::<log::LevelFilter>().is_ok();
    let (good, strange): (Vec<_>, Vec<_>) =
        parts.split(',').partition(|part| part.split_once('=').is_none_or(|(_, level)| is_level(level.trim())));
    (good.join(",") + pattern, strange)
}

/// Passes logged lines to the thread `log`. Each write is some whole lines, and never waits.
struct Logged(&'static Stderr);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.log(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A logger that can be flushed before the process ends.
struct Logger {
    logger: env_logger::Logger,
    stderr: &'static Stderr,
}

impl log::Log for Logger {
    fn enabled(&self, about: &log::Metadata<'_>) -> bool {
        self.logger.enabled(about)
    }

    fn log(&self, record: &log::Record<'_>) {
        self.logger.log(record);
    }

    fn flush(&self) {
        // If standard error is not read, there is nothing more to wait for.
        let _ = self.stderr.flush();
    }
}

/// Standard error, for what a task must say there.
pub(crate) fn stderr() -> &'static Stderr {
    Stderr::started().unwrap_or_else(|| Stderr::of_process(&Screen::stderr()))
}

/// Sends panic messages to standard error through the thread `log`, so that a panicking thread waits for no reader.
pub(crate) fn have_panics_said() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |about| {
        let Some(stderr) = Stderr::started() else { return usual(about) };
        let thread = thread::current();
        let backtrace = Backtrace::capture();
        let traced = match backtrace.status() {
            BacktraceStatus::Captured => format!("{backtrace}\n"),
            _ => String::new(),
        };
        stderr.say(&format!("thread '{}' {about}\n{traced}", thread.name().unwrap_or("unnamed")));
    }));
}

#[cfg(test)]
mod tests {
    use super::understood;

    #[test]
    fn only_what_cannot_be_understood_of_a_logging_specification_is_ignored() {
        for (spec, good, strange) in [
            ("", "", vec![]),
            ("info", "info", vec![]),
            ("kadring=debug, warn", "kadring=debug, warn", vec![]),
            ("kadring=loud,node=,a=b=c,info/block", "node=,info/block", vec!["kadring=loud", "a=b=c"]),
            ("info/a/b", "", vec!["info/a/b"]),
        ] {
            assert_eq!(understood(spec), (good.to_owned(), strange), "{spec}");
        }
    }
}
