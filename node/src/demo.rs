use std::fs;
use std::path::Path;

use clap::Parser;

use crate::args::Arguments;
use crate::{Error, Outcome, print_line, run};

const STEPS: [(&str, &str); 3] = [
    (
        "1. A regtest chain with every kind of spend, signed, with forks that win and lose",
        "generate --blocks 300 --txs 2000 --pool 800 --forks 4 --seed 2014 --out",
    ),
    ("2. Its import into an empty base, with every check", "import"),
    ("3. The set of unspent outputs, as Bitcoin Core's gettxoutsetinfo counts it", "utxo info"),
];

/// Runs three commands as a user would, in a folder that is removed afterwards.
pub(crate) fn show() -> Result<Outcome, Error> {
    let folder = std::env::temp_dir().join(format!("caesure-demo-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let outcome = STEPS.iter().try_for_each(|(title, words)| step(&folder, title, words));
    fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    outcome?;
    print_line(&"The same for a file of your own, into a folder that keeps its blocks:");
    print_line(&"  cargo run --release --bin caesure -- import -b FOLDER bootstrap.dat");
    Ok(Outcome::Done)
}

fn step(folder: &Path, title: &str, words: &str) -> Result<(), Error> {
    print_line(&title);
    let file = folder.join("bootstrap.dat").into_os_string();
    let mut line: Vec<_> = ["caesure", "--network", "regtest", "-b"].map(Into::into).into();
    line.push(folder.into());
    line.extend(words.split(' ').map(Into::into));
    if !words.starts_with("utxo") {
        line.push(file);
    }
    let outcome = run(&Arguments::parse_from(line))?;
    assert_eq!(outcome, Outcome::Done, "the generated chain is valid");
    print_line(&"");
    Ok(())
}
