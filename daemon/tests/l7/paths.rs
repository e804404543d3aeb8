//! Single requests: where they go, and what answers them.

use crate::stage::{Shape, Stage, urls};

#[test]
fn root_a_request_goes_where_its_path_says() {
    let stage = Stage::start("l7-paths", &Shape::default());
    let rows = [("/a", "a\n"), ("/b/deeper", "b\n"), ("/far?x=1", "far\n")];
    for (path, expected) in rows {
        for url in urls(path) {
            let (done, text) = stage.curl(&[&url]);
            assert!(
                done && text == expected,
                "{url}: {text}\n{}",
                stage.report()
            );
        }
    }
    for url in urls("/nowhere") {
        let (_, text) = stage.curl(&["-o", "/dev/null", "-w", "%{http_code}", &url]);
        assert_eq!(text, "404", "{url}\n{}", stage.report());
    }
}
