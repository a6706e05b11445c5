//! What the command line promises: options, environment, exit codes, files, and clients that come for one command.

mod catalogue;
mod clients;
mod config_file;
mod control;
mod events;
mod every_command;
mod exit_codes;
mod folders;
mod harmless;
mod health;
mod leases;
mod leaving;
mod options;
mod pausing;
mod piped;
pub(crate) mod running;
mod starting;
