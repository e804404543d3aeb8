//! What the demo prints.

use std::io::IsTerminal;
use std::time::Duration;

pub fn headline(number: usize, of: usize, title: &str) {
    let (bold, plain) = style("1");
    println!("\n{bold}[{number}/{of}] {title}{plain}");
}

/// A command as a reader would type it.
pub fn command(line: &str) {
    let (dim, plain) = style("2");
    println!("{dim}  $ {line}{plain}");
}

/// Something that was checked and holds.
pub fn holds(what: &str) {
    let (green, plain) = style("32");
    println!("{green}  ok{plain}  {what}");
}

pub fn text(text: &str) {
    for line in text.lines() {
        println!("    {line}");
    }
}

pub fn daemon_log(log: &str) {
    if !log.is_empty() {
        eprintln!("the daemon's log:");
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(60)..] {
            eprintln!("    {line}");
        }
    }
}

pub fn end(took: Duration) {
    let (bold, plain) = style("1");
    println!(
        "\n{bold}Everything above was checked; nothing is left. {:.0} s{plain}",
        took.as_secs_f64()
    );
}

fn style(code: &str) -> (String, &'static str) {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        (format!("\x1b[{code}m"), "\x1b[0m")
    } else {
        (String::new(), "")
    }
}
