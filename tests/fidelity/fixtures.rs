//! Objects that the rows of the table refer to: two releases of two images, networks, volumes,
//! other containers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::engine::Engine;

/// The busybox commands in the rows.
const COMMANDS: [&str; 5] = ["cat", "echo", "sh", "sleep", "true"];

/// The running release: it sets everything that an image can set.
const APP_ONE: &str = r#"
FROM scratch
COPY root /
ENV PATH=/bin ONE=1 SHARED=old
LABEL which=one only.one=1
WORKDIR /srv/one
USER one
EXPOSE 80 81
VOLUME /data /var/one
STOPSIGNAL SIGUSR1
SHELL ["/bin/sh", "-e", "-c"]
HEALTHCHECK --interval=11s --timeout=7s --retries=5 CMD ["/bin/true"]
ONBUILD ENV BUILT=one
ENTRYPOINT ["/bin/busybox", "sh", "-c"]
CMD ["exec sleep 100000"]
"#;

/// The next release: everything has another value.
const APP_TWO: &str = r#"
FROM scratch
COPY root /
ENV PATH=/bin:/sbin TWO=2 SHARED=new
LABEL which=two only.two=2
WORKDIR /srv/two
USER two
EXPOSE 81 82
VOLUME /data /var/two
STOPSIGNAL SIGUSR2
SHELL ["/bin/sh", "-x", "-c"]
HEALTHCHECK --interval=22s --timeout=9s --retries=2 --start-period=3s CMD ["/bin/busybox", "true"]
ONBUILD ENV BUILT=two
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["exec sleep 200000"]
"#;

/// An image that sets only a command; its next release sets everything.
const PLAIN_ONE: &str = "FROM scratch\nCOPY root /\nCMD [\"/bin/sleep\", \"100000\"]\n";

/// Creates everything that the rows refer to.
pub fn set(engine: &Engine) {
    let context = tempfile::tempdir().expect("a directory");
    fill(&context.path().join("root"));
    engine.build("app:v1", context.path(), APP_ONE);
    engine.build("app:v2", context.path(), APP_TWO);
    engine.build("plain:v1", context.path(), PLAIN_ONE);
    engine.build("plain:v2", context.path(), APP_TWO);
    let commands = [
        "network create --ipv6 --subnet 10.50.0.0/24 --subnet fd50::/64 blue",
        "network create --subnet 10.51.0.0/24 green",
        "network create --subnet 10.52.0.0/24 red",
        "network create --internal --subnet 10.55.0.0/24 cellar-net",
        "volume create archive",
        "run --detach --name anchor --network blue --ipc shareable --volume /shared app:v1",
        "run --detach --name cellar --network none --volume /shared app:v1",
        "run --detach --name neighbour app:v1",
        "run --detach --name neighbour-green --network green app:v1",
    ];
    for command in commands {
        run(engine, command).unwrap_or_else(|error| panic!("{error}"));
    }
    // If an Engine does not support such a network, the rows that need it say so.
    for (driver, subnet) in [("macvlan", "10.53.0.0/24"), ("ipvlan", "10.54.0.0/24")] {
        let command = format!("network create --driver {driver} --subnet {subnet} {driver}");
        drop(run(engine, &command));
    }
}

fn run(engine: &Engine, command: &str) -> Result<String, String> {
    let words: Vec<&str> = command.split(' ').collect();
    engine.try_docker(&words)
}

/// The file system of the images: busybox, users, and a directory for each of the volumes.
fn fill(root: &Path) {
    for directory in ["bin", "etc", "tmp", "data", "srv/one", "srv/two", "var/one", "var/two"] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    let busybox = Path::new("/bin/busybox");
    fs::copy(busybox, root.join("bin/busybox")).expect("Debian's busybox-static is installed");
    for command in COMMANDS {
        symlink("busybox", root.join("bin").join(command)).expect("a link");
    }
    let users = "root:x:0:0::/:/bin/sh\none:x:1001:1001::/:/bin/sh\ntwo:x:1002:1002::/:/bin/sh\n";
    fs::write(root.join("etc/passwd"), users).expect("a file");
    fs::write(root.join("etc/group"), "root:x:0:\nstaff:x:50:\n").expect("a file");
}
