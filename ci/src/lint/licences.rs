//! Licences and sources of every crate that we build, by ci/deny.toml.

use crate::{shell, workspace};
use anyhow::{Context, Result};
use serde_json::Value;
use spdx::Expression;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub fn faults(metadata: &Value) -> Result<Vec<String>> {
    let allowed = allowed()?;
    let built: Vec<&Value> = metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|node| &node["id"])
        .collect();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let packages = packages.filter(|package| built.contains(&&package["id"]));
    Ok(packages
        .filter_map(|package| fault(package, &allowed))
        .collect())
}

/// `licenses.allow` of ci/deny.toml.
fn allowed() -> Result<Vec<String>> {
    let text = shell::read_file(&workspace::root().join("ci/deny.toml"))?;
    let config: toml::Table = text.parse().context("parse ci/deny.toml")?;
    let list = config["licenses"]["allow"]
        .as_array()
        .context("licenses.allow in ci/deny.toml")?;
    Ok(list
        .iter()
        .filter_map(|l| l.as_str())
        .map(str::to_owned)
        .collect())
}

fn fault(package: &Value, allowed: &[String]) -> Option<String> {
    let name = package["name"].as_str()?;
    if let Some(source) = package["source"].as_str()
        && source != CRATES_IO
    {
        return Some(format!(
            "crate {name} comes from {source}, not from crates.io"
        ));
    }
    match package["license"].as_str() {
        None => Some(format!("crate {name} states no licence")),
        Some(licence) if !permits(licence, allowed) => Some(format!(
            "crate {name}: licence {licence} is not allowed by ci/deny.toml"
        )),
        Some(_) => None,
    }
}

fn permits(licence: &str, allowed: &[String]) -> bool {
    // The lax mode reads the old form `MIT/Apache-2.0` as well.
    let Ok(expression) = Expression::parse_mode(licence, spdx::ParseMode::LAX) else {
        return false;
    };
    expression.evaluate(|wanted| {
        let id = wanted.license.id().map(|id| id.name);
        let exception = wanted.addition.as_ref().map(ToString::to_string);
        let name = match (id, exception) {
            (Some(id), Some(exception)) => format!("{id} WITH {exception}"),
            (Some(id), None) => id.to_owned(),
            (None, _) => return false,
        };
        allowed.contains(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::permits;

    #[test]
    fn one_allowed_way_through_the_expression_is_enough() {
        let allowed = ["MIT".to_owned(), "BSD-2-Clause".to_owned()];
        let rows = [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only OR MIT", true),
            ("MIT AND BSD-2-Clause", true),
            ("MIT AND Zlib", false),
            ("Apache-2.0 WITH LLVM-exception", false),
            ("no licence", false),
        ];
        for (licence, expected) in rows {
            assert_eq!(permits(licence, &allowed), expected, "{licence}");
        }
    }
}
