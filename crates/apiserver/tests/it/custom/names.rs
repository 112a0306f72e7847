//! Two definitions of one group that want the same name.

use super::*;

fn other(change: impl FnOnce(&mut Value)) -> Value {
    let mut other = definition();
    other["metadata"]["name"] = json!("others.stable.example.com");
    other["spec"]["names"] =
        json!({"plural": "others", "singular": "other", "kind": "Other", "shortNames": ["ot"]});
    change(&mut other["spec"]["names"]);
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_second_waits_until_the_name_is_free() {
    let (_world, root) = world().await;
    root.define(definition()).await;
    type Change = dyn Fn(&mut Value);
    let cases: [(&Change, &str, &str); 4] = [
        (&|n| n["singular"] = json!("crontab"), "SingularConflict", "\"crontab\" is already in use"),
        (&|n| n["shortNames"] = json!(["ct", "x"]), "ShortNamesConflict", "\"ct\" is already in use"),
        (
            &|n| (n["kind"], n["listKind"]) = (json!("CronTab"), json!("OtherList")),
            "KindConflict",
            "\"CronTab\" is already in use",
        ),
        (&|n| n["listKind"] = json!("CronTabList"), "ListKindConflict", "\"CronTabList\" is already in use"),
    ];
    let path = format!("{DEFINITIONS}/others.stable.example.com");
    let others = "/apis/stable.example.com/v1/namespaces/default/others";
    for (change, reason, words) in cases {
        root.define(other(change)).await;
        let now = root.get(&path).await.ok();
        let wanted = [format!("NamesAccepted=False {reason}"), "Established=False NotAccepted".to_owned()];
        assert_eq!(conditions(&now), wanted);
        assert_eq!(now["status"]["conditions"][0]["message"], words);
        assert_eq!(root.get(others).await.code, 404);
        root.delete(&path).await.ok();
        root.until(&path, 404).await;
    }
    root.define(other(cases[2].0)).await;
    assert_eq!(root.get(others).await.code, 404);
    root.delete(&format!("{DEFINITIONS}/crontabs.stable.example.com")).await.ok();
    root.until(others, 200).await;
    let now = root.get(&path).await.ok();
    assert_eq!(conditions(&now), ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]);
}
