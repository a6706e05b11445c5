//! The program: reads the command line, has it done, and says by its exit code how that went.

mod args;
mod commands;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use kadring::console::escape;

use args::{Cli, Task};
use commands::{Exit, Failed, client, peer, report, ring, sim};

fn main() -> ExitCode {
    let exit = run(Cli::parse().task).unwrap_or_else(|error| {
        // Standard error may be closed; the exit code says it all the same.
        let _ = writeln!(io::stderr(), "kadring: {}", escape(&format!("{error:#}")));
        error.downcast_ref::<Failed>().map_or(Exit::Other, |failed| failed.exit)
    });
    ExitCode::from(exit as u8)
}

fn run(task: Task) -> anyhow::Result<Exit> {
    match task {
        Task::Peer(args) => peer::run(args),
        Task::Ring(args) => ring::run(args),
        Task::Report(args) => report::run(&args),
        Task::Store(args) => client::store(args),
        Task::Retrieve(args) => client::retrieve(args),
        Task::Lookup(args) => client::lookup(args),
        Task::Ping(args) => client::ping(args),
        Task::Sim(args) => sim::sim(&args),
        Task::Repro(args) => sim::repro(&args),
        Task::Replay(args) => sim::replay(&args),
        Task::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "kadring", &mut script);
            io::stdout().write_all(&script).context("cannot write the script")?;
            Ok(Exit::Done)
        }
    }
}
