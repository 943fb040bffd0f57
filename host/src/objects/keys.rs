//! Which keys are used, in which region, at which service: what the pipeline file names comes first, then the
//! environment, then the profile in the files of AWS's own tools. An empty variable is none.
//!
//! The keys have no `Debug`, and no error holds one.

use std::path::{Path, PathBuf};

use ini::Ini;

use super::{Options, Trouble};

/// By which right, and where.
pub struct Keys {
    pub access: String,
    pub secret: String,
    pub token: Option<String>,
    pub region: String,
    /// `None` is AWS itself.
    pub endpoint: Option<url::Url>,
}

/// The region of services that have none.
const REGION: &str = "us-east-1";

/// Where things are looked for.
struct Search<'a> {
    options: &'a Options,
    variable: &'a dyn Fn(&str) -> Option<String>,
    home: Option<PathBuf>,
    place: &'a str,
}

/// An access key, its secret, and a token.
type Found = (String, String, Option<String>);

impl Keys {
    /// `place` is what the keys are for.
    pub fn find(options: &Options, place: &str) -> Result<Self, Trouble> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Search { options, variable: &variable, home: std::env::home_dir(), place }.find()
    }
}

impl Search<'_> {
    fn find(&self) -> Result<Keys, Trouble> {
        let options = self.options;
        let (access, secret, token) = match (&options.access_key_file, &options.secret_key_file) {
            (Some(access), Some(secret)) => (self.key(access)?, self.key(secret)?, None),
            (None, None) => self.found()?,
            _ => {
                return Err(
                    self.trouble("`access_key_file` and `secret_key_file` in [s3] are a pair; add the other one")
                );
            }
        };
        let config = self.file("AWS_CONFIG_FILE", "config")?;
        let of_profile = |key| {
            let section =
                if self.profile() == "default" { "default".to_owned() } else { format!("profile {}", self.profile()) };
            config.as_ref().and_then(|(_, ini)| Some(ini.section(Some(section))?.get(key)?.to_owned()))
        };
        let variables = |names: &[&str]| names.iter().find_map(|name| (self.variable)(name));
        let endpoint = match &options.endpoint {
            Some(url) => Some(url.clone()),
            None => variables(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
                .or_else(|| of_profile("endpoint_url"))
                .map(|url| self.endpoint(&url))
                .transpose()?,
        };
        let region = options.region.clone().or_else(|| variables(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
        let region = region.or_else(|| of_profile("region")).or_else(|| endpoint.as_ref().map(|_| REGION.to_owned()));
        let region = region.ok_or_else(|| {
            self.trouble(
                "no region is known; name it as `region` in [s3], in AWS_REGION, or in the profile; or name another \
                 service than AWS as `endpoint` in [s3]",
            )
        })?;
        Ok(Keys { access, secret, token, region, endpoint })
    }

    /// What is wrong is not shown: it may be a key.
    fn endpoint(&self, url: &str) -> Result<url::Url, Trouble> {
        let wrong =
            |what: &str| self.trouble(&format!("AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or endpoint_url: {what}"));
        let url = url.parse::<url::Url>().map_err(|error| wrong(&format!("this is no URL: {error}")))?;
        super::check_endpoint(&url).map_err(wrong)?;
        Ok(url)
    }

    /// A profile that the pipeline file names comes before the environment.
    fn found(&self) -> Result<Found, Trouble> {
        if self.options.profile.is_none() && self.options.credentials.is_none() {
            let of = |name| (self.variable)(name);
            match (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY")) {
                (Some(access), Some(secret)) => {
                    return Ok((access, secret, of("AWS_SESSION_TOKEN")));
                }
                (None, None) => {}
                _ => {
                    return Err(
                        self.trouble("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are a pair; set the other one")
                    );
                }
            }
        }
        let Some((path, ini)) = self.credentials()? else {
            return Err(self.trouble(
                "no keys are known; name their files as `access_key_file` and `secret_key_file` in [s3], set \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or keep a profile in ~/.aws/credentials (or in the file that \
                 `credentials` in [s3] names)",
            ));
        };
        let profile = self.profile();
        let missing = |what: &str| self.trouble(&format!("{}: {what} in profile {profile:?}; add it", path.display()));
        let section = ini.section(Some(&profile)).ok_or_else(|| {
            let what = format!("{}: there is no profile {profile:?}; add it, or name another one", path.display());
            self.trouble(&what)
        })?;
        let key = |name: &str| section.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let access = key("aws_access_key_id").ok_or_else(|| missing("no aws_access_key_id"))?;
        let secret = key("aws_secret_access_key").ok_or_else(|| missing("no aws_secret_access_key"))?;
        Ok((access, secret, key("aws_session_token")))
    }

    fn profile(&self) -> String {
        let asked = self.options.profile.clone().or_else(|| (self.variable)("AWS_PROFILE"));
        asked.unwrap_or_else(|| "default".to_owned())
    }

    fn credentials(&self) -> Result<Option<(PathBuf, Ini)>, Trouble> {
        match &self.options.credentials {
            Some(path) => Ok(Some((path.clone(), self.ini(path, &self.read(path)?)?))),
            None => self.file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        }
    }

    /// A file of AWS's tools, which only need be there where a variable names it.
    fn file(&self, variable: &str, name: &str) -> Result<Option<(PathBuf, Ini)>, Trouble> {
        let path = match ((self.variable)(variable), &self.home) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(home)) if home.join(".aws").join(name).exists() => home.join(".aws").join(name),
            (None, _) => return Ok(None),
        };
        let ini = self.ini(&path, &self.read(&path)?)?;
        Ok(Some((path, ini)))
    }

    fn ini(&self, path: &Path, text: &str) -> Result<Ini, Trouble> {
        // What is wrong is not said in the parser's words, which may hold a key.
        Ini::load_from_str_noescape(text).map_err(|error| {
            let what = format!("{}: line {} is not as in a file of profiles; mend it", path.display(), error.line);
            self.trouble(&what)
        })
    }

    fn key(&self, path: &Path) -> Result<String, Trouble> {
        let key = self.read(path)?.trim().to_owned();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(self.trouble(&format!("{}: this is not one key, and nothing else; mend it", path.display())));
        }
        Ok(key)
    }

    fn read(&self, path: &Path) -> Result<String, Trouble> {
        let problem = |error| self.trouble(&format!("{}: {error}; it is to hold keys of S3", path.display()));
        std::fs::read_to_string(path).map_err(problem)
    }

    fn trouble(&self, what: &str) -> Trouble {
        Trouble { place: self.place.to_owned(), what: what.to_owned(), interrupted: false }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Bench {
        home: tempfile::TempDir,
        variables: BTreeMap<&'static str, String>,
        options: Options,
    }

    impl Bench {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            std::fs::create_dir(home.path().join(".aws")).unwrap();
            Self { home, variables: BTreeMap::new(), options: Options::default() }
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.home.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        fn find(&self) -> Result<Keys, String> {
            let variable = |name: &str| self.variables.get(name).cloned();
            let home = Some(self.home.path().to_owned());
            Search { options: &self.options, variable: &variable, home, place: "s3://b" }.find().map_err(|trouble| {
                let text = trouble.what;
                assert!(!text.contains("hush"), "{text}");
                text
            })
        }
    }

    #[test]
    fn files_come_before_the_environment_and_that_before_the_profile() {
        let mut bench = Bench::new();
        assert!(bench.find().err().unwrap().starts_with("no keys are known; name their files"));
        bench.file(".aws/credentials", "[default]\naws_access_key_id = p\naws_secret_access_key = hush+/=\n[two]\n");
        assert!(bench.find().err().unwrap().starts_with("no region is known"));
        bench.file(".aws/config", "[default]\nregion = eu-1\n[profile two]\nendpoint_url = http://[::1]:9/\n");
        let keys = bench.find().unwrap();
        assert_eq!((&*keys.access, &*keys.secret, &*keys.region, keys.endpoint), ("p", "hush+/=", "eu-1", None));

        bench.variables.insert("AWS_ACCESS_KEY_ID", "e".to_owned());
        assert!(bench.find().err().unwrap().contains("are a pair"));
        bench.variables.insert("AWS_SECRET_ACCESS_KEY", "hush".to_owned());
        bench.variables.insert("AWS_SESSION_TOKEN", "hush t".to_owned());
        bench.variables.insert("AWS_DEFAULT_REGION", "eu-2".to_owned());
        let keys = bench.find().unwrap();
        assert_eq!((&*keys.access, keys.token.as_deref(), &*keys.region), ("e", Some("hush t"), "eu-2"));

        bench.options.profile = Some("default".to_owned());
        assert_eq!(bench.find().unwrap().access, "p", "what the pipeline file names comes first");

        bench.options.access_key_file = Some(bench.file("access", "f\n"));
        assert!(bench.find().err().unwrap().contains("are a pair"));
        bench.options.secret_key_file = Some(bench.file("secret", "hush\n"));
        let keys = bench.find().unwrap();
        assert_eq!((&*keys.access, &*keys.secret, keys.token), ("f", "hush", None));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_what_is_in_it() {
        let mut bench = Bench::new();
        bench.file(".aws/credentials", "[two]\naws_access_key_id = p\nhush\n");
        assert!(bench.find().err().unwrap().contains("credentials: line"));
        bench.file(".aws/credentials", "[two]\naws_access_key_id = p\n");
        assert!(bench.find().err().unwrap().contains(r#"there is no profile "default""#));
        bench.variables.insert("AWS_PROFILE", "two".to_owned());
        assert!(bench.find().err().unwrap().contains(r#"no aws_secret_access_key in profile "two""#));
        bench.options.credentials = Some("nowhere".into());
        assert!(bench.find().err().unwrap().starts_with("nowhere: No such file"));
        let both = bench.file("both", "p hush\n");
        bench.options.access_key_file = Some(both.clone());
        bench.options.secret_key_file = Some(both);
        assert!(bench.find().err().unwrap().contains("this is not one key"));
    }

    #[test]
    fn another_service_than_aws_needs_no_region() {
        let mut bench = Bench::new();
        bench.file(".aws/credentials", "[default]\naws_access_key_id = p\naws_secret_access_key = hush\n");
        bench.variables.insert("AWS_ENDPOINT_URL", "http://127.0.0.1:9000".to_owned());
        let keys = bench.find().unwrap();
        assert_eq!((&*keys.region, keys.endpoint.unwrap().as_str()), (REGION, "http://127.0.0.1:9000/"));
        for (url, what) in [
            ("hush", "this is no URL"),
            ("localhost:9000", "over http or https"),
            ("http://me:hush@localhost:9000", "over http or https"),
        ] {
            bench.variables.insert("AWS_ENDPOINT_URL_S3", url.to_owned());
            assert!(bench.find().err().unwrap().contains(what));
        }
    }
}
