package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of what is read.
const (
	maxKeyFile   = 1 << 20 // bytes of a file, or of a URL's answer
	maxKeyFiles  = 1000    // of a directory
	fetchTimeout = 10 * time.Second
)

// keySuffixes are those of the files in a directory that count.
var keySuffixes = []string{".pem", ".pub", ".crt", ".cer"}

// filePlace is one file: PEM, or JWKS if it begins with a brace.
type filePlace string

func (p filePlace) load(context.Context) ([]key, []string, error) {
	text, err := readBounded(string(p))
	if err != nil {
		return nil, nil, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return parseJWKS(text)
	}
	return parsePEM(text, "", time.Now())
}

// readBounded reads a small regular file.
func readBounded(path string) ([]byte, error) {
	// A named pipe must not hold us up until somebody writes to it.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxKeyFile)
	}
	return text, nil
}

// dirPlace is a directory of PEM files. A file that cannot be read keeps the
// keys that it had; one that is gone has none.
type dirPlace struct {
	path string
	held map[string][]key // by file name
}

func (p *dirPlace) load(context.Context) (keys []key, warnings []string, err error) {
	names, err := keyFiles(p.path)
	if err != nil {
		return nil, nil, err
	}
	now := map[string][]key{}
	keys = []key{}
	var problems []error
	for _, name := range names {
		kid := strings.TrimSuffix(name, filepath.Ext(name))
		text, err := readBounded(filepath.Join(p.path, name))
		var has []key
		var odd []string
		if err == nil {
			has, odd, err = parsePEM(text, kid, time.Now())
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
			has = p.held[name]
		}
		for _, w := range odd {
			warnings = append(warnings, name+": "+w)
		}
		if len(has) > 0 {
			now[name] = has
		}
		keys = append(keys, has...)
	}
	p.held = now
	if len(names) == 0 {
		warnings = append(warnings, "the directory holds no key files ("+strings.Join(keySuffixes, ", ")+")")
	}
	return keys, warnings, errors.Join(problems...)
}

// keyFiles lists the files that count. Links are followed, since that is how
// secrets are mounted.
func keyFiles(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.Readdirnames(10 * maxKeyFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	names := slices.DeleteFunc(all, func(name string) bool {
		return strings.HasPrefix(name, ".") || !slices.Contains(keySuffixes, filepath.Ext(name))
	})
	if len(names) > maxKeyFiles {
		return nil, fmt.Errorf("it holds more than %d key files", maxKeyFiles)
	}
	slices.Sort(names)
	return names, nil
}

// urlPlace is a JWKS that is fetched.
type urlPlace struct {
	url    string
	client *http.Client
}

func newURLPlace(at, caFile string) (*urlPlace, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, errors.New("it is no URL")
	}
	if err := checkKeyURL(u); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	transport.DisableKeepAlives = true
	transport.MaxResponseHeaderBytes = 64 << 10
	if caFile != "" {
		pool, err := readPool(caFile)
		if err != nil {
			return nil, fmt.Errorf("the authorities for it (--jwt-keys-ca) in %s: %w", caFile, err)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &urlPlace{url: at, client: &http.Client{Transport: transport, Timeout: fetchTimeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("it is redirected more than 3 times")
			}
			return checkKeyURL(r.URL)
		}}}, nil
}

// checkKeyURL refuses what anybody on the way could change.
func checkKeyURL(u *url.URL) error {
	ip := net.ParseIP(u.Hostname())
	switch {
	case u.Host == "":
		return errors.New("the URL has no host")
	case u.User != nil:
		return errors.New("the URL must not hold a user name or a password")
	case u.Scheme == "https", u.Scheme == "http" && ip != nil && ip.IsLoopback():
		return nil
	}
	return fmt.Errorf("the URL is %s: want https (http only for a loopback address)", u.Scheme)
}

func readPool(path string) (*x509.CertPool, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("it holds no certificate (-----BEGIN CERTIFICATE-----)")
	}
	return pool, nil
}

func (p *urlPlace) load(ctx context.Context) ([]key, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := p.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the server answered %d", answer.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxKeyFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(text) > maxKeyFile {
		return nil, nil, fmt.Errorf("the answer is larger than %d bytes", maxKeyFile)
	}
	return parseJWKS(text)
}
