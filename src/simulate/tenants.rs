//! The configuration that fits a scenario: which tenants there are and which extensions they have.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::plan::{extension_user, tenant_id};
use super::{Error, Scenario};

impl Scenario {
    /// Writes `callreel.toml` and `tenants/*.toml` into `dir`, which is made if it is missing: the tenants of this scenario,
    /// told apart by their networks alone, all with the same extensions. Recordings go to `dir/recordings`.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if a file cannot be written.
    pub fn write_config(&self, dir: &Path) -> Result<(), Error> {
        let dir = std::path::absolute(dir).map_err(|source| Error::File {
            path: dir.into(),
            source,
        })?;
        let tenants = dir.join("tenants");
        fs::create_dir_all(&tenants).map_err(|source| Error::File {
            path: tenants.clone(),
            source,
        })?;
        write(&dir.join("callreel.toml"), &daemon_toml(&dir))?;
        for number in 1..=self.tenants {
            let path = tenants.join(format!("tenant{number}.toml"));
            write(&path, &tenant_toml(number, self.extensions))?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::File {
        path: path.into(),
        source,
    })
}

fn daemon_toml(dir: &Path) -> String {
    let quoted = |text: String| toml::Value::String(text).to_string();
    let root = quoted(dir.join("recordings").display().to_string());
    let url = quoted(format!("sqlite://{}", dir.join("catalog.db").display()));
    format!(
        "[capture]\nsip_ports = [5060]\n\n[storage]\nroot = {root}\n\n[catalog]\nurl = {url}\n\n\
         [tenancy]\ntenants = \"tenants/*.toml\"\nunattributed = \"keep\"\n"
    )
}

fn tenant_toml(number: u8, extensions: u16) -> String {
    let mut text = format!(
        "[tenant]\nid = \"{}\"\nname = \"Tenant {number}\"\n\n\
         [[match]]\nnetworks = [\"10.{number}.0.0/16\", \"fd00:{number:x}::/32\"]\n",
        tenant_id(number)
    );
    let pinned =
        (0..u32::from(extensions)).map_while(|place| Some((place, extension_user(place)?)));
    let mut count = 0;
    for (place, user) in pinned {
        count = place + 1;
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\n[[extension]]\nnumber = \"{}\"\nuser = \"{user}\"\n",
            1001 + place
        );
    }
    if count < extensions.into() {
        let (first, last) = (1001 + count, 1000 + u32::from(extensions));
        let _ = write!(text, "\n[[extension]]\nrange = \"{first}-{last}\"\n");
    }
    // What was pressed is compared with what was sent.
    text + "\n[recording]\ndigits = \"keep\"\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_toml_and_covers_every_extension() {
        let dir = tempfile::tempdir().unwrap();
        let scenario = Scenario {
            tenants: 3,
            extensions: 30,
            ..Scenario::default()
        };
        scenario.write_config(dir.path()).unwrap();
        let read = |name: &str| -> toml::Table {
            fs::read_to_string(dir.path().join(name))
                .unwrap()
                .parse()
                .unwrap()
        };
        assert_eq!(
            read("callreel.toml")["tenancy"]["tenants"].as_str(),
            Some("tenants/*.toml")
        );
        let tenant = read("tenants/tenant3.toml");
        assert_eq!(
            tenant["tenant"]["id"].as_str(),
            Some(&*tenant_id(3).to_string())
        );
        assert_eq!(
            tenant["match"][0]["networks"][0].as_str(),
            Some("10.3.0.0/16")
        );
        let extensions = tenant["extension"].as_array().unwrap();
        assert_eq!(extensions.len(), 11);
        assert_eq!(extensions[0]["user"].as_str(), Some("user1001"));
        assert_eq!(extensions[10]["range"].as_str(), Some("1011-1030"));
    }
}
