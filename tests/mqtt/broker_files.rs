//! Certificates that `pki` does not make: expired ones, and lists that have expired.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::broker::Mosquitto;
use crate::support::command::run;

impl Mosquitto {
    /// Signs the key of a name, or `broker`, again, with an end in the past.
    pub fn expire(&self, name: &str) {
        let file = if name == "broker" { "broker" } else { "client" };
        let extensions = self.path("extensions");
        let alternatives = "basicConstraints=critical,CA:FALSE\nsubjectAltName=IP:127.0.0.1\n";
        fs::write(&extensions, alternatives).expect("extensions");
        let request = self.path("request");
        run(Command::new("openssl")
            .args(["req", "-new", "-subj", "/CN=request", "-key"])
            .arg(self.file_of(name, &format!("{file}.key")))
            .arg("-out")
            .arg(&request));
        let subject = format!("/O=Pilotfish fleet/OU=device/CN={name}");
        run(self
            .openssl_ca(&["-batch", "-notext", "-subj", &subject])
            .args(["-startdate", "20200101000000Z", "-enddate", "20200102000000Z", "-extfile"])
            .arg(&extensions)
            .arg("-in")
            .arg(&request)
            .arg("-out")
            .arg(self.file_of(name, &format!("{file}.crt"))));
    }

    /// Makes a revocation list whose next update is in the past.
    pub fn expire_list(&self) {
        let list = self.file_of("broker", "crl.pem");
        run(self
            .openssl_ca(&["-gencrl", "-crl_lastupdate", "20200101000000Z"])
            .args(["-crl_nextupdate", "20200102000000Z", "-out"])
            .arg(list));
    }

    /// Revokes one certificate of a name, and not the others.
    pub fn revoke_one(&self, certificate: &PathBuf) {
        run(self.openssl_ca(&["-revoke"]).arg(certificate));
        self.pki(&["renew-crl"]);
    }

    fn openssl_ca(&self, arguments: &[&str]) -> Command {
        let authority = self.path("certificates/authority");
        let mut command = Command::new("openssl");
        command.env("PKI_AUTHORITY", &authority).args(["ca", "-config"]);
        command.arg(authority.join("ca.cnf")).args(arguments);
        command
    }
}
