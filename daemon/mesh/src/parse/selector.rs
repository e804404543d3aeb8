//! Label selectors, Kubernetes' and Cilium's way.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::doc::Doc;
use crate::objects::{Requirement, Selector, Test};

/// The requirements of a selector, with `rename` applied to each key.
pub fn requirements(
    doc: &Doc<'_, '_>,
    path: &str,
    raw: &LabelSelector,
    rename: &dyn Fn(&str) -> Result<String, String>,
) -> Selector {
    let mut selector = Selector::default();
    for (key, value) in raw.match_labels.iter().flatten() {
        let path = format!("{path}.matchLabels[{key:?}]");
        if let Some(key) = renamed(doc, &path, key, rename) {
            selector = selector.and(&key, value);
        }
    }
    for (i, expression) in raw.match_expressions.iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{i}]");
        let Some(key) = renamed(doc, &format!("{path}.key"), &expression.key, rename) else {
            continue;
        };
        let values = expression.values.clone().unwrap_or_default();
        if let Some(test) = test(doc, &path, &expression.operator, values) {
            selector.requirements.push(Requirement { key, test });
        }
    }
    selector
}

fn renamed(
    doc: &Doc<'_, '_>,
    path: &str,
    key: &str,
    rename: &dyn Fn(&str) -> Result<String, String>,
) -> Option<String> {
    if key.is_empty() {
        doc.error(path, "a requirement needs the name of a label");
        return None;
    }
    rename(key).map_err(|message| doc.error(path, message)).ok()
}

fn test(doc: &Doc<'_, '_>, path: &str, operator: &str, values: Vec<String>) -> Option<Test> {
    let test = match (operator, values.is_empty()) {
        ("In", false) => Test::In(values),
        ("NotIn", false) => Test::NotIn(values),
        ("Exists", true) => Test::Exists,
        ("DoesNotExist", true) => Test::Absent,
        ("In" | "NotIn", true) => {
            doc.error(
                &format!("{path}.values"),
                format!("{operator} needs at least one value"),
            );
            return None;
        }
        ("Exists" | "DoesNotExist", false) => {
            doc.error(
                &format!("{path}.values"),
                format!("{operator} takes no values: remove them"),
            );
            return None;
        }
        _ => {
            doc.error(
                &format!("{path}.operator"),
                format!("{operator:?} is not one of In, NotIn, Exists, DoesNotExist"),
            );
            return None;
        }
    };
    Some(test)
}

/// Kubernetes' keys stay as they are.
pub fn plain(key: &str) -> Result<String, String> {
    Ok(key.to_owned())
}

/// Cilium's keys may name their source: `k8s:` and `any:` mean a pod's label
/// here, `reserved:` one of the reserved identities.
pub fn cilium(key: &str) -> Result<String, String> {
    let key = match key.split_once(':') {
        None => key.to_owned(),
        Some(("k8s" | "any", rest)) if !rest.is_empty() => rest.to_owned(),
        Some(("reserved", "host" | "world" | "remote-node" | "unmanaged")) => key.to_owned(),
        Some(("reserved", other)) => {
            return Err(format!("not supported yet: the reserved label {other:?}"));
        }
        Some((source, _)) => {
            return Err(format!(
                "not supported yet: labels of the source {source:?}; write k8s:, any: or no source"
            ));
        }
    };
    Ok(key)
}
