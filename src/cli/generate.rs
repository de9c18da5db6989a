//! Shell completions and manual pages, generated from the arguments.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::command::{Cli, NAME};
use crate::error::{Context as _, Error};

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_enum, hide_possible_values = true)]
    pub shell: Shell,
}

impl Completions {
    /// The completion script.
    pub fn script(&self) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut script);
        script
    }
}

/// Arguments of `man`.
#[derive(Args, Debug)]
pub struct ManPages {
    /// Where to write the pages
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

impl ManPages {
    /// Writes a page for each command, such as `regsweep-garbage-collect.1`. Creates the directory if needed.
    ///
    /// # Errors
    ///
    /// When the directory cannot be created or a page cannot be written.
    pub fn write(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.directory).context("make the directory", &self.directory)?;
        // The version without the build's target and features: the pages are the same for every build.
        let mut root = Cli::command().disable_help_subcommand(true).long_version(env!("CARGO_PKG_VERSION"));
        root.build();
        let mut waiting = vec![root];
        while let Some(command) = waiting.pop() {
            waiting.extend(command.get_subcommands().cloned());
            let page = Man::new(command).source(concat!("regsweep ", env!("CARGO_PKG_VERSION"))).manual("regsweep");
            let path = self.directory.join(page.get_filename());
            let mut text = Vec::new();
            page.render(&mut text).context("make the page", &path)?;
            fs::write(&path, text).context("write", &path)?;
        }
        Ok(())
    }
}
