//! Roots of containers from images of every form: many layers, put on top of one another or copied together. Needs root
//! and busybox, and says so without.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use mete_agent::containerizer::Containerizer;
use mete_agent::containerizer::image_root::ImageRoot;
use mete_model::container::{Mount, MountSource};

use crate::containers::{around, busybox, mounts_of, possible, task};
use crate::support::{Agent, id, soon};

const BOTH: [ImageRoot; 2] = [ImageRoot::Overlay, ImageRoot::Copy];

/// As many as Docker makes, but for a few.
const MANY_LAYERS: usize = 120;

#[tokio::test]
async fn an_image_of_120_layers_is_one_root_and_stays_as_it_is() {
    if !possible() {
        return;
    }
    for root in BOTH {
        let agent = Agent::new();
        let text = "echo $(ls /many | busybox wc -l) $(cat /many/7) $(cat /top); echo mine > /top; \
                    echo mine > /many/new; cat /top; busybox stat -c %a /";
        let mut start = task(&agent, "c1", text);
        let around = around(&mut start);
        around.image_root = root;
        let image = around.image.as_mut().unwrap();
        for number in 1..MANY_LAYERS {
            let layer = agent.work.path().join(format!("layer{number}"));
            fs::create_dir_all(layer.join("many")).unwrap();
            fs::write(layer.join(format!("many/{number}")), format!("{number}\n")).unwrap();
            fs::write(layer.join("top"), format!("{number}\n")).unwrap();
            image.layers.push(layer);
        }
        let top = image.layers.last().unwrap().clone();
        fs::set_permissions(&top, fs::Permissions::from_mode(0o700)).unwrap();

        let shim = agent.tasks.start(start).await.unwrap();
        let exit = soon(shim.ended()).await.unwrap();

        assert!(exit.is_success(), "{root:?}: {exit}");
        let expected = "119 7 119\nmine\n755\n";
        assert_eq!(agent.said("c1", "stdout").await, expected, "{root:?}");
        assert_eq!(fs::read_to_string(top.join("top")).unwrap(), "119\n");
        assert!(!top.join("many/new").exists());
        agent.tasks.destroy(id("c1")).await.unwrap();
        assert!(!agent.dir("c1").path().exists());
        assert_eq!(mounts_of(&agent), [""; 0]);
    }
}

#[tokio::test]
async fn a_copied_root_is_the_tasks_alone_and_has_what_its_image_says() {
    if !possible() {
        return;
    }
    let agent = Agent::new();
    let text = "cat /etc/hostname; test -e /etc/gone || echo gone; busybox readlink /link; \
                busybox stat -c '%u:%g %a' /owned; ls /other/bin | busybox grep sleep; \
                echo x > /other/made; echo x > /bin/made; busybox mknod /dev/null2 c 1 3 || echo no device";
    let mut starts = ["c1", "c2"].map(|container| task(&agent, container, text));
    for start in &mut starts {
        let around = around(start);
        around.image_root = ImageRoot::Copy;
        around
            .mounted
            .insert("other".into(), busybox(agent.work.path()));
        around.spec.mounts = vec![Mount {
            target: "/other".into(),
            source: MountSource::Image("other".into()),
            read_only: false,
        }];
        let upper = agent.work.path().join("second");
        fs::create_dir_all(upper.join("etc")).unwrap();
        fs::write(upper.join("etc/.wh.gone"), "").unwrap();
        fs::write(upper.join("owned"), "").unwrap();
        fs::set_permissions(upper.join("owned"), fs::Permissions::from_mode(0o4711)).unwrap();
        std::os::unix::fs::chown(upper.join("owned"), Some(4444), Some(5555)).unwrap();
        fs::set_permissions(upper.join("owned"), fs::Permissions::from_mode(0o4711)).unwrap();
        let _ = symlink("/outside", upper.join("link"));
        around.image.as_mut().unwrap().layers.push(upper);
    }
    fs::write(agent.work.path().join("image/etc/gone"), "x").unwrap();

    let [first, second] = starts;
    for start in [first, second] {
        let container = start.container.clone();
        let shim = agent.tasks.start(start).await.unwrap();
        let exit = soon(shim.ended()).await.unwrap();

        assert!(exit.is_success(), "{exit}");
        let host = mete_daemon::host::name();
        let expected = format!("{host}\ngone\n/outside\n4444:5555 4711\nsleep\nno device\n");
        assert_eq!(agent.said(container.as_str(), "stdout").await, expected);
    }
    for (container, there) in [("c1", true), ("c2", true)] {
        let root = agent.dir(container).path().join("root");
        assert_eq!(root.join("copy/bin/made").exists(), there);
        assert!(root.join("0/copy/made").exists());
    }
    assert!(!agent.work.path().join("image/bin/made").exists());
}

#[tokio::test]
async fn an_image_that_does_not_let_itself_be_copied_is_named() {
    if !possible() {
        return;
    }
    let agent = Agent::new();
    let mut start = task(&agent, "c1", "true");
    let around = around(&mut start);
    around.image_root = ImageRoot::Copy;
    let missing = agent.work.path().join("not-there");
    around.image.as_mut().unwrap().layers.push(missing.clone());

    let error = agent.tasks.start(start).await.unwrap_err();

    let text = mete_daemon::chain(&error);
    assert!(text.contains(missing.to_str().unwrap()), "{text}");
    assert!(!agent.dir("c1").path().exists());
}
