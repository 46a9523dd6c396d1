"""What secrets are called, what they look like, and which programs take them where. PURE, data alone; `redact` uses it.

Names and shapes come from the vendors' own pages on their tokens and from the rules of gitleaks and GitHub's secret
scanning; places come from the programs' manuals. Shapes are looked for everywhere, so each has a beginning of its own
and a length that no word has; repetition is bounded wherever something must follow it.
"""

from typing import NamedTuple

# Words of a name that mean its value is secret. Whole words: `--tokenizer` and `--max-tokens` are harmless.
WORDS = frozenset(
    (
        *("token", "key", "keys", "apikey", "secret", "secrets", "password", "passwords", "passwd", "passphrase"),
        *("pwd", "pass", "credential", "credentials", "cred", "creds", "auth", "authorization", "bearer", "cookie"),
        *("signature", "sig", "jwt", "pat", "webhook", "dsn", "sas", "otp", "totp", "passcode", "authkey"),
        *("requirepass", "masterauth", "authtoken"),
    )
)
ENDINGS = ("token", "apikey", "secret", "password", "passwd", "passphrase", "credential", "credentials", "accesskey")
LAST_WORDS = frozenset(("pin",))  # secret at the end of a name alone: `--pin 1234`, but `--pin-memory true`
# As last word of a name these say that it is about a secret, and holds none.
HARMLESS = frozenset(("file", "path", "dir", "length", "count", "size", "cache", "dtype", "type", "name", "id", "bits"))
SECRET_IDS = ("secretid", "secret_id", "secret-id")  # of Vault's AppRole: an id by name alone
# `tokens` counts something nearly everywhere; these hold some, unless the value is a number.
HOLDS_TOKENS = frozenset(("", "api", "auth", "access", "bearer", "refresh", "secret", "hf", "bot", "user", "admin"))


class Shape(NamedTuple):
    """A secret that is known by its looks. `example` is made up; `source` says who documents the shape."""

    of: str
    pattern: str
    example: str
    source: str


_AB = "aB3dE6gH"
SHAPES = (
    Shape("AI services", r"sk-[A-Za-z0-9_\-]{16,}", "sk-proj-" + _AB * 5, "OpenAI, Anthropic, LiteLLM, Langfuse"),
    Shape("AI services", r"(?:(?:gsk|xai|r8|fw|rpa|csk)[_-][A-Za-z0-9]{20,}|pcsk_\w{20,})", "gsk_" + _AB * 6,
          "Groq, xAI, Replicate, Fireworks, RunPod, Cerebras, Pinecone"),
    Shape("AI services", r"(?:pplx|tgp_v1|jina|lsv2_(?:pt|sk))[_-][A-Za-z0-9_\-]{20,}", "pplx-" + _AB * 6,
          "Perplexity, Together, Jina, LangSmith"),
    Shape("Hugging Face", r"(?:hf|api_org)_[A-Za-z0-9]{16,}", "hf_" + _AB * 4, "huggingface.co: access tokens"),
    Shape("NVIDIA", r"nvapi-[\w\-]{16,}", "nvapi-" + _AB * 8, "docs.nvidia.com/ngc: API keys"),
    Shape("GitHub", r"(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,})", "ghp_" + _AB * 4, "GitHub: token formats"),
    Shape("GitLab", r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[\w\-.]{16,}", "glpat-" + _AB * 3,
          "docs.gitlab.com: token prefixes"),
    Shape("Bitbucket, Jira", r"AT(?:ATT3|BB|CTT3)[\w\-=]{20,}", "ATATT3" + _AB * 20, "gitleaks"),
    Shape("Slack", r"x(?:ox[abeprs]|app)-[\w\-]{10,}", "xoxb-1234567890-" + _AB * 2, "api.slack.com: token types"),
    Shape("Slack", r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/\-]{12,}",
          "hooks.slack.com/services/T00/B00/" + _AB * 3, "api.slack.com: incoming webhooks"),
    Shape("Discord, Teams", r"(?:discord(?:app)?\.com/api/webhooks|webhook\.office\.com/webhookb2)/[\w/\-@]{12,}",
          "discord.com/api/webhooks/123456789/" + _AB * 3, "gitleaks"),
    Shape("Telegram", r"\d{8,10}:AA[\w\-]{32,34}", "123456789:AA" + _AB * 4, "core.telegram.org/bots"),
    Shape("AWS", r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}", "AKIA" + "ABCDEFGHIJ234567", "IAM: identifiers"),
    Shape("Google", r"(?:AIza[\w\-]{30,}|ya29\.[\w\-.]{20,}|GOCSPX-[\w\-]{20,})", "AIza" + _AB * 5, "Google Cloud"),
    Shape("Azure", r"[\w~.]{3}\dQ~[\w~.\-]{31,34}", "abc8Q~" + _AB * 4, "gitleaks: client secret"),
    Shape("Alibaba Cloud", r"LTAI[A-Za-z0-9]{12,}", "LTAI5t" + _AB * 2, "gitleaks"),
    Shape("DigitalOcean", r"do[opr]_v1_[a-f0-9]{32,}", "dop_v1_" + "0a1b2c3d" * 8, "docs.digitalocean.com"),
    Shape("Databricks", r"dapi[a-f0-9]{32}(?:-\d)?", "dapi" + "0a1b2c3d" * 4, "gitleaks"),
    Shape("Vault, Terraform", r"(?:hv[sbr]\.[\w\-]{20,}|[A-Za-z0-9]{14}\.atlasv1\.[\w\-=]{40,})", "hvs." + _AB * 4,
          "developer.hashicorp.com/vault: tokens"),
    Shape("Tailscale", r"tskey-[a-z]{1,16}-[\w\-]{12,}", "tskey-auth-" + _AB * 3, "tailscale.com/kb: key prefixes"),
    Shape("Docker", r"dckr_(?:pat|oat)_[\w\-]{16,}", "dckr_pat_" + _AB * 4, "docs.docker.com: access tokens"),
    Shape("Grafana, Sentry", r"(?:gl(?:sa|c)_[\w=+/]{20,}|sntry[su]_[\w=+/]{20,})", "glsa_" + _AB * 4, "gitleaks"),
    Shape("package registries", r"(?:npm_[A-Za-z0-9]{30,}|pypi-AgE[\w\-]{16,}|rubygems_[a-f0-9]{48})", "npm_" + _AB * 5,
          "npm, PyPI, RubyGems"),
    Shape("payment", r"(?:[sr]k|whsec)_(?:live_|test_|prod_)?[A-Za-z0-9]{16,}", "sk_live_" + _AB * 3, "Stripe"),
    Shape("mail", r"(?:SG\.[\w\-]{16,64}\.[\w\-]{16,}|key-[a-f0-9]{32})", f"SG.{_AB * 3}.{_AB * 5}",
          "SendGrid, Mailgun"),
    Shape("Shopify", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}", "shpat_" + "0a1b2c3d" * 4, "gitleaks"),
    Shape("PlanetScale, Supabase", r"(?:pscale_(?:tkn|pw|oauth)_[\w\-.]{20,}|sbp_[a-f0-9]{40}|sb_secret_[\w\-]{20,})",
          "sbp_" + "0a1b2c3d" * 5, "gitleaks, supabase.com/docs: API keys"),
    Shape("age", r"AGE-SECRET-KEY-1[A-Z0-9]{20,}", "AGE-SECRET-KEY-1" + "QPZRY9X8" * 7, "age-encryption.org"),
    Shape("JSON Web Token", r"eyJ[\w\-]{8,1024}\.[\w\-]{8,}(?:\.[\w\-]*){0,3}", f"eyJ{_AB * 3}.{_AB * 4}.",
          "RFC 7519"),
    Shape("password hash", r"\$(?:[156y]|2[aby]|argon2id?|gy)\$[\w./$=,+\-]{20,}", f"$6${_AB}${_AB * 6}",
          "crypt(5)"),
)  # fmt: skip
# Each shape holds one of these: what has none of them is not searched, and the shapes are not even compiled.
SHAPE_HEADS = (
    *("sk-", "gsk", "xai", "r8_", "r8-", "fw_", "fw-", "rpa", "csk", "pplx", "tgp_v1", "jina", "lsv2_", "hf_"),
    *("api_org_", "nvapi-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "gldt-", "glrt-"),
    *("glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-", "glffct-", "ATATT3", "ATBB", "ATCTT3"),
    *("xox", "xapp-", "hooks.slack", "webhook", ":AA", "A3T", "AKIA", "ASIA", "ABIA", "ACCA", "AIza", "ya29."),
    *("GOCSPX-", "Q~", "LTAI", "_v1_", "dapi", "hvs.", "hvb.", "hvr.", ".atlasv1.", "tskey-", "dckr_", "glsa_"),
    *("glc_", "sntry", "npm_", "pypi-", "rubygems_", "sk_", "rk_", "whsec_", "SG.", "key-", "shp", "pscale_", "sbp_"),
    *("sb_secret_", "AGE-SECRET", "eyJ", "$"),
)
PEM = r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|$)"


class Place(NamedTuple):
    """Where a program's command line has a secret. `flags`: what follows them, or is glued to those of one letter, is
    one; none: every word is that is no flag. `program` is a pattern, with the subcommand where that decides."""

    program: str
    flags: tuple[str, ...] = ()


_BLANK = r"(?:\s+-\S+){0,8}\s+"  # what may stand between a program and its subcommand
PLACES = (
    Place("sshpass", ("-p",)),
    Place("(?:mysql|mysqldump|mysqladmin|mysqlimport|mariadb|mariadb-dump|mariadb-admin)", ("-p",)),
    Place("(?:redis-cli|valkey-cli|keydb-cli)", ("-a",)),
    Place("(?:mongo|mongosh|mongodump|mongorestore|mongoexport|mongoimport)", ("-p",)),
    Place("curl", ("-[A-Za-z]{0,8}?u", "--user", "-U", "--proxy-user", "-b")),
    Place("(?:http|https|xh|xhs)", ("-a",)),
    Place("wget", ("--user",)),
    Place("(?:ldap(?:search|modify|add|delete|whoami|passwd|compare|modrdn))", ("-w", "-s")),
    Place("smbclient", ("-U",)),
    Place("lftp", ("-u",)),
    Place("(?:7z|7za|7zr|7zz|rar|unrar)", ("-p", "-hp")),
    Place("(?:zip|unzip|zipcloak)", ("-P",)),
    Place("openssl", ("-k", "-K")),
    Place("(?:ipmitool|ipmi-sensors|ipmi-sel|ipmipower|bmc-info)", ("-P", "-p", "-k")),
    Place("snmp(?:get|walk|bulkwalk|bulkget|set|table|getnext|status)", ("-c", "-A", "-X")),
    Place("(?:sqlcmd|bcp)", ("-P",)),
    Place("(?:xfreerdp|wlfreerdp)3?", ("/p:",)),
    Place("mosquitto_(?:pub|sub|rr)", ("-P",)),
    Place("influx", ("-t",)),
    Place(rf"(?:docker|podman|nerdctl|buildah|skopeo|oras|az|oc|argocd|crane{_BLANK}auth|helm{_BLANK}registry){_BLANK}login",
          ("-p", "-t")),
    Place(rf"kubectl{_BLANK}create{_BLANK}secret", ("--from-literal",)),
    Place(rf"gh{_BLANK}(?:secret|variable){_BLANK}set", ("-b", "--body")),
    Place(rf"(?:wandb|vault|cloudsmith|swanlab){_BLANK}login"),
    Place(rf"ngrok{_BLANK}(?:authtoken|config\s+add-authtoken)"),
    Place(rf"rabbitmqctl{_BLANK}(?:add_user|change_password|authenticate_user)"),
    Place(rf"mc{_BLANK}(?:alias\s+set|config\s+host\s+add)"),
    Place(rf"rclone{_BLANK}obscure"),
    Place(r"htpasswd\s+-[A-Za-z]*b[A-Za-z]*"),
)  # fmt: skip
# Each program's command holds one of these; see `SHAPE_HEADS`.
PLACE_HEADS = (
    *("sshpass", "mysql", "mariadb", "redis-cli", "valkey-cli", "keydb-cli", "mongo", "curl", "http", "xh", "wget"),
    *("ldap", "smbclient", "lftp", "7z", "rar", "zip", "openssl", "ipmi", "bmc-info", "snmp", "sqlcmd", "bcp"),
    *("freerdp", "mosquitto_", "influx", "login", "secret", "variable", "ngrok", "rabbitmqctl", "mc", "rclone"),
    "htpasswd",
)
