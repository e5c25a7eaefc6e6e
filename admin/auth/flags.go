package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Flags are the daemon's flags for access to the admin API.
type Flags struct {
	Keys           []string
	KeysCA         string
	KeysRefresh    time.Duration
	Audience       []string
	Issuer         string
	Leeway         time.Duration
	RolesClaim     string
	RoleMap        []string
	TLSCert        string
	TLSKey         string
	TLSClientCA    string
	Socket         string
	AllowPlaintext bool

	// Inherited are no flag: the listeners that systemd has opened for us.
	Inherited []net.Listener
}

// Register puts all flags into fs.
func (f *Flags) Register(fs *pflag.FlagSet) {
	f.RegisterTokens(fs)
	f.registerListen(fs)
}

// RegisterTokens puts those into fs that say which tokens are taken.
func (f *Flags) RegisterTokens(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.Keys, "jwt-keys", nil, "public keys that API tokens are verified with: a file (PEM or JWKS), a directory of PEM files "+
		"(each key is called like its file) or the https URL of a JWKS; repeatable; read again when they change")
	fs.StringVar(&f.KeysCA, "jwt-keys-ca", "", "authorities (PEM file) for the certificates of the URLs in --jwt-keys, instead of the system's")
	fs.DurationVar(&f.KeysRefresh, "jwt-keys-refresh", 5*time.Minute, "how often the URLs in --jwt-keys are fetched; a token with an unknown kid makes it sooner")
	fs.StringArrayVar(&f.Audience, "jwt-audience", nil, "audience (aud) that a token must be for; repeatable: one of them")
	fs.StringVar(&f.Issuer, "jwt-issuer", "", "issuer (iss) that a token must be from")
	fs.DurationVar(&f.Leeway, "jwt-leeway", 30*time.Second, "by how much the clocks of the issuer and of this machine may differ, at most 10m")
	fs.StringVar(&f.RolesClaim, "jwt-roles-claim", "roles", "claim that holds the roles, a string or a list; dots lead into objects (realm_access.roles)")
	fs.StringArrayVar(&f.RoleMap, "jwt-role-map", nil, "THEIRS=OURS: what a role of the tokens is here (admin, editor or viewer); repeatable")
}

func (f *Flags) registerListen(fs *pflag.FlagSet) {
	fs.StringVar(&f.TLSCert, "tls-cert", "", "certificate chain (PEM file) of the admin port, read again when it changes; makes it speak TLS")
	fs.StringVar(&f.TLSKey, "tls-key", "", "private key (PEM file) of --tls-cert")
	fs.StringVar(&f.TLSClientCA, "tls-client-ca", "", "authorities (PEM file): the admin port then takes only clients with a certificate by one of them")
	fs.StringVar(&f.Socket, "admin-socket", "", "Unix socket of the admin API, for root and the daemon's own user without a token; off for none (default DATA-DIR/admin.sock)")
	fs.BoolVar(&f.AllowPlaintext, "insecure-plaintext", false, "serve the admin port without TLS on an address that others can reach: tokens then cross the network in clear")
}

// Check says what is wrong with the values by themselves; files are not read.
func (f *Flags) Check() error {
	var problems []error
	say := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for _, at := range f.Keys {
		switch u, err := url.Parse(at); {
		case at == "":
			say("--jwt-keys is empty: want a file, a directory or an https URL")
		case strings.Contains(at, "://") && err != nil:
			say("--jwt-keys %q is no URL", at)
		case strings.Contains(at, "://"):
			if err := checkKeyURL(u); err != nil {
				say("--jwt-keys %q: %w", u.Redacted(), err)
			}
		}
	}
	if f.KeysRefresh < 10*time.Second {
		say("--jwt-keys-refresh %s: want at least 10s", f.KeysRefresh)
	}
	if f.Leeway < 0 || f.Leeway > 10*time.Minute {
		say("--jwt-leeway %s: want 0s to 10m", f.Leeway)
	}
	if f.RolesClaim == "" {
		say("--jwt-roles-claim is empty: want the name of a claim, such as roles")
	}
	for _, aud := range f.Audience {
		if aud == "" {
			say("--jwt-audience is empty: leave it out to take only tokens without an audience")
		}
	}
	if _, err := f.roles(); err != nil {
		problems = append(problems, err)
	}
	if (f.TLSCert == "") != (f.TLSKey == "") {
		say("--tls-cert and --tls-key go together: one of them is missing")
	}
	if f.TLSClientCA != "" && f.TLSCert == "" {
		say("--tls-client-ca needs --tls-cert and --tls-key")
	}
	return errors.Join(problems...)
}

// roles takes THEIRS=OURS apart. Theirs may hold an equals sign.
func (f *Flags) roles() (map[string]Role, error) {
	m := map[string]Role{}
	for _, text := range f.RoleMap {
		at := strings.LastIndexByte(text, '=')
		if at < 1 {
			return nil, fmt.Errorf("--jwt-role-map %q: want THEIRS=OURS, such as log-team=editor", text)
		}
		role, err := ParseRole(text[at+1:])
		if err != nil {
			return nil, fmt.Errorf("--jwt-role-map %q: %w", text, err)
		}
		if had, twice := m[text[:at]]; twice && had != role {
			return nil, fmt.Errorf("--jwt-role-map %q: %q is %s already", text, text[:at], had)
		}
		m[text[:at]] = role
	}
	return m, nil
}

// Open reads the keys and returns the verifier, and what to call when it is
// no longer used. Without --jwt-keys it refuses every token and says why.
func (f *Flags) Open(log *slog.Logger) (*Verifier, func(), error) {
	if err := f.Check(); err != nil {
		return nil, nil, err
	}
	roles, err := f.roles()
	if err != nil {
		return nil, nil, err
	}
	o := VerifierOptions{Audience: f.Audience, Issuer: f.Issuer, Leeway: f.Leeway, RolesClaim: f.RolesClaim, RoleMap: roles}
	if len(f.Keys) == 0 {
		return NewVerifier(o), func() {}, nil
	}
	if o.Keys, err = OpenKeyring(KeyOptions{Places: f.Keys, URLRefresh: f.KeysRefresh, URLCAFile: f.KeysCA, Log: log}); err != nil {
		return nil, nil, err
	}
	return NewVerifier(o), o.Keys.Close, nil
}

// Listen opens the TCP address (that of --listen; "off" for none) and the Unix
// socket, whose place is socket if --admin-socket says nothing.
func (f *Flags) Listen(address, socket string, log *slog.Logger) (*Listeners, error) {
	if f.Socket != "" {
		socket = f.Socket
	}
	return Listen(ListenOptions{Address: address, SocketPath: socket, CertFile: f.TLSCert, KeyFile: f.TLSKey, ClientCAFile: f.TLSClientCA,
		AllowPlaintext: f.AllowPlaintext, Inherited: f.Inherited, Log: log})
}
