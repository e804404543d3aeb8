//! The report: one HTML file that needs nothing else, and the same tables as
//! Markdown.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::chart;
use crate::report::Outcome;
use crate::result::{ArmResult, Measured, RunFile, shown};
use crate::scenario::Role;
use crate::svg::escape;
use crate::tables;

const STYLE: &str = include_str!("page.css");
/// What a bar chart is drawn of, besides the headline.
const COSTS: [&str; 5] = [
    "cpu_us",
    "per_cpu_second",
    "cpu_s_gb",
    "marginal_ns",
    "p999_us",
];

/// Writes `report.html` and `report.md` into a folder.
pub fn write(run: &RunFile, folder: &Path) -> Result<()> {
    for (name, text) in [("report.html", html(run)), ("report.md", markdown(run))] {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// All tables, for a document.
pub fn markdown(run: &RunFile) -> String {
    let mut text = format!(
        "# Results of {}\n\n{}.\n`{}`, {:.0} s. Only ratios within one run mean anything. SHORT = a target is missed; VOID = not what the label says, or not here.\nA ratio is the median of the ratios of the rounds, with its 95 % bootstrap interval.\n\n",
        run.started,
        run.host.line(),
        shown(&run.command),
        run.seconds
    );
    for scenario in &run.scenarios {
        text += &tables::markdown(scenario);
        text.push('\n');
    }
    text
}

pub fn html(run: &RunFile) -> String {
    let links: Vec<String> = run
        .scenarios
        .iter()
        .map(|scenario| format!("<a href=\"#{0}\">{0}</a>", escape(&scenario.name)))
        .collect();
    let sections: Vec<String> = run.scenarios.iter().map(section).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>terrace-bench, {started}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>terrace-bench</h1>\n<p class=\"faint\">{started}, {seconds:.0} s, <code>{command}</code></p>\n<nav>{links}</nav>\n</header>\n<main>\n{host}{sections}</main>\n</body>\n</html>\n",
        started = escape(&run.started),
        seconds = run.seconds,
        command = escape(&run.command),
        links = links.join(""),
        host = host(run),
        sections = sections.concat(),
    )
}

fn host(run: &RunFile) -> String {
    let host = &run.host;
    let mitigations: Vec<String> = host
        .mitigations
        .iter()
        .map(|(name, state)| format!("{name}: {state}"))
        .collect();
    let rows = [
        ("kernel", host.kernel.clone()),
        ("CPU", format!("{} x {}", host.n_cpus, host.cpu)),
        ("hypervisor", host.hypervisor.clone()),
        ("memory", format!("{} MB", host.memory_mb)),
        ("clock source", host.clock_source.clone()),
        ("frequency governor", host.governor.clone()),
        ("a system call", format!("{:.0} ns", host.syscall_ns)),
        ("hardware counters", host.counters.clone()),
        (
            "load average at the start",
            format!("{:.2}", host.load_average),
        ),
        ("Terrace", format!("{} at {}", host.version, host.commit)),
        ("mitigations", mitigations.join("; ")),
    ];
    let rows: String = rows
        .iter()
        .map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>\n", escape(value)))
        .collect();
    format!(
        "<section>\n<h2>The machine</h2>\n<p>Only ratios within one run mean anything: arms take turns, a ratio is the median of the ratios of the rounds with its 95 % bootstrap interval. Gap closed: 1 = as good as the floor, 0 = as the peer. A void row is not what its label says, by the counters, or is not here.</p>\n<dl>\n{rows}</dl>\n</section>\n"
    )
}

fn section(measured: &Measured) -> String {
    let mut text = format!(
        "<section id=\"{}\">\n<h2>{}</h2>\n<p>{}</p>\n<p class=\"faint\">{}</p>\n",
        escape(&measured.name),
        escape(&measured.title),
        escape(&measured.about),
        escape(&measured.load)
    );
    if let Some(origin) = &measured.origin {
        let line = escape(&origin.line(None)).replace('`', "");
        text += &format!("<p class=\"faint\">Of another run: {line}</p>\n");
    }
    text += &plots(measured);
    text += &table(measured);
    text += &warnings(measured);
    text += &details(measured);
    text + "</section>\n"
}

fn plots(measured: &Measured) -> String {
    let mut text = String::new();
    if measured.axis.is_some() && measured.points().len() > 1 {
        for (name, metric) in measured.metrics() {
            text += &chart::curve(measured, name, metric);
        }
        return text;
    }
    let headline = measured.headline();
    for at in measured.points() {
        if let Some((name, metric)) = headline {
            text += &chart::bars(measured, at, name, metric);
        }
        text += &chart::percentiles(measured, at);
        for (name, metric) in measured.metrics() {
            if COSTS.contains(&name) && headline.is_none_or(|(headline, _)| headline != name) {
                text += &chart::bars(measured, at, name, metric);
            }
        }
    }
    text
}

fn table(measured: &Measured) -> String {
    let section = tables::section(measured);
    let head: String = section
        .columns
        .iter()
        .map(|column| format!("<th>{}</th>", escape(column)))
        .collect();
    let mut rows = String::new();
    let arms = measured
        .points()
        .into_iter()
        .flat_map(|at| measured.arms_at(at));
    for (row, arm) in section.rows.iter().zip(arms) {
        let class = match (row.outcome, arm.role) {
            (Outcome::Void, _) => "void",
            (_, Role::Ours) => "ours",
            _ => "",
        };
        let cells = row
            .cells
            .iter()
            .map(|cell| format!("<td>{}</td>", escape(cell)));
        let _ = writeln!(
            rows,
            "<tr class=\"{class}\">{}<td>{}</td></tr>",
            cells.collect::<String>(),
            row.outcome
        );
    }
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{head}<th></th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// What is void, and what a reader must be warned of.
fn warnings(measured: &Measured) -> String {
    let named = |arm: &ArmResult, what: &str| {
        let at = arm.at.map_or(String::new(), |at| format!(" at {at}"));
        format!("{}{at}: {what}", arm.name)
    };
    let voids = measured
        .arms
        .iter()
        .filter_map(|arm| Some(named(arm, arm.void.as_deref()?)));
    let flags = measured.arms.iter().flat_map(|arm| {
        let flags = arm.flags.iter();
        flags.map(|flag| named(arm, flag)).collect::<Vec<_>>()
    });
    let list = |class: &str, items: Vec<String>| {
        if items.is_empty() {
            return String::new();
        }
        let items: String = items
            .iter()
            .map(|item| format!("<li>{}</li>\n", escape(item)))
            .collect();
        format!("<ul class=\"{class}\">\n{items}</ul>\n")
    };
    let noise = measured.noise.iter().cloned().chain(flags);
    list("warn bad", voids.collect()) + &list("warn", noise.collect())
}

/// Where everything ran, what proves it, and the versions.
fn details(measured: &Measured) -> String {
    let mut rows: Vec<(String, String)> = Vec::new();
    for (role, cpu) in &measured.cpus {
        rows.push((format!("CPU of {role}"), cpu.clone()));
    }
    for note in &measured.notes {
        rows.push(("note".to_owned(), note.clone()));
    }
    for arm in &measured.arms {
        let at = arm.at.map_or(String::new(), |at| format!(" at {at}"));
        if let Some(proof) = &arm.proof {
            rows.push((format!("proof of {}{at}", arm.name), proof.clone()));
        }
        if let Some(version) = &arm.version {
            rows.push((format!("version of {}", arm.name), version.clone()));
        }
    }
    rows.dedup();
    let rows: String = rows
        .iter()
        .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value)))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("<details><summary>proof, CPUs, versions</summary>\n<dl>\n{rows}</dl></details>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::{arm, measured, run};

    fn page() -> String {
        let mut void = arm("nft <b>", Role::Peer, &[("p50_us", &[20.0])]);
        void.void = Some("not proved: its counters did not move".to_owned());
        let plain = arm(
            "plain",
            Role::Floor,
            &[("p50_us", &[20.0, 21.0]), ("cpu_us", &[5.0, 6.0])],
        );
        html(&run(vec![measured("rr", vec![plain, void])]))
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = page();
        for outside in ["http://", "https://", "<script", "<link", "<img", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_page_has_its_plots_and_says_what_is_void() {
        let page = page();
        assert_eq!(page.matches("<svg").count(), 2);
        assert!(page.contains("nft &lt;b&gt;: not proved: its counters did not move"));
        assert_eq!(
            page.matches("<section").count(),
            page.matches("</section>").count()
        );
    }

    #[test]
    fn the_document_has_every_scenario_with_its_command() {
        let text = markdown(&run(vec![measured("rr", vec![]), measured("bulk", vec![])]));
        assert!(text.contains("### rr:") && text.contains("### bulk:"));
        assert!(text.contains("`terrace-bench run`"));
    }
}
