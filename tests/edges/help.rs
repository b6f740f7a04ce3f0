//! `--help`, compared as a whole.

use clap::CommandFactory;
use pilotfish::cli::Cli;

use crate::golden::compare_within;

#[test]
fn every_command_explains_itself_with_an_example() {
    let mut main = Cli::command().term_width(100);
    main.build();
    compare_within("help", &main.render_long_help().to_string(), 100);
    for command in main.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = format!("help-{}", command.get_name());
        let page = command.render_long_help().to_string();
        assert!(page.contains("Example"), "{name} has no example");
        compare_within(&name, &page, 100);
        for below in command.get_subcommands_mut().filter(|it| it.get_name() != "help") {
            let name = format!("{name}-{}", below.get_name());
            let page = below.render_long_help().to_string();
            assert!(page.contains("Example"), "{name} has no example");
            compare_within(&name, &page, 100);
        }
    }
}
