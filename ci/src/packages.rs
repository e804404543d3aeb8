//! ci/packages.txt, the one list of Debian packages.

const LIST: &str = include_str!("../packages.txt");

/// The packages' names, in the order of the list.
pub fn wanted() -> Vec<&'static str> {
    names(LIST).collect()
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
}

/// Those of `wanted` that `dpkg-query -W -f '${Package} ${db:Status-Status}\n'`
/// does not call installed.
pub fn missing<'a>(wanted: &[&'a str], installed: &str) -> Vec<&'a str> {
    let has = |name: &str| {
        installed
            .lines()
            .any(|line| line.split_once(' ') == Some((name, "installed")))
    };
    wanted.iter().filter(|name| !has(name)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_reasons_are_no_package_names() {
        let list = "# why\n\nclang-19   compiles\nm4\n";
        assert_eq!(names(list).collect::<Vec<_>>(), ["clang-19", "m4"]);
    }

    #[test]
    fn only_a_wholly_installed_package_counts() {
        let installed = "m4 installed\nwrk config-files\nclang-19 not-installed\n";
        assert_eq!(
            missing(&["m4", "wrk", "clang-19", "jq"], installed),
            ["wrk", "clang-19", "jq"]
        );
    }

    #[test]
    fn every_line_of_the_list_gives_a_reason() {
        for line in LIST
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            assert!(line.split_whitespace().count() > 1, "{line}");
        }
    }
}
