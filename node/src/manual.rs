//! What is generated from the definition of the command line: completions and manual pages.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::args::Program;
use crate::{Error, Outcome};

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    generate(shell, &mut Program::command(), "caesure", &mut script);
    // Where bash is offered nothing it completes names of files, and into folders: so options are offered
    // only to who has typed a hyphen.
    let script = String::from_utf8_lossy(&script)
        .replace("-W \"${opts}\" --", "-W \"${opts}\" -X \"${cur:+ }-*\" --")
        .replace("COMPREPLY=($(compgen -f \"${cur}\"))", "COMPREPLY=()");
    crate::print(script.as_bytes());
    Outcome::Done
}

/// Prints the manual page, or writes it and one of each subcommand into a folder.
pub(crate) fn pages(out: Option<&Path>) -> Result<Outcome, Error> {
    let command = with_all_options(Program::command());
    let Some(folder) = out else {
        crate::print(page(command).as_bytes());
        return Ok(Outcome::Done);
    };
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    clap_mangen::generate_to(command.clone(), folder).map_err(Error::io(folder))?;
    let path = folder.join("caesure.1");
    fs::write(&path, page(command)).map_err(Error::io(&path))?;
    Ok(Outcome::Done)
}

/// The page of the program. What its help ends with is a table, whose lines stay as they are.
fn page(command: Command) -> String {
    let mut page = Vec::new();
    Man::new(command).render(&mut page).expect("a vector takes all");
    let page = String::from_utf8_lossy(&page);
    let page = page.replace(".SH EXTRA\n", ".SH NOTES\n.nf\n");
    page.replace(".SH VERSION\n", ".fi\n.SH VERSION\n")
}

/// Options that the short help leaves out have no text in a manual page else.
fn with_all_options(command: Command) -> Command {
    let command = command.mut_args(|arg| arg.hide_short_help(false));
    command.mut_subcommands(with_all_options)
}
