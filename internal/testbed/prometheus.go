package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// PrometheusBinary returns the path of prometheus or promtool: that of the machine,
// or one of Debian's package prometheus, which is fetched once and unpacked to
// ${XDG_CACHE_HOME:-~/.cache}/lbshipd/prometheus-deb: installing it would start
// a server on this machine.
func PrometheusBinary(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "lbshipd", "prometheus-deb")
	path := filepath.Join(dir, "usr", "bin", name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return "", fmt.Errorf("there is no %s, and no apt-get to fetch it with", name)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	// The tests of several packages may come here at once; one fetches.
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("waiting for somebody else who fetches %s: %w", name, err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, fetchPackage("prometheus", dir)
}

// fetchPackage unpacks a Debian package to dir, which comes to be as a whole.
func fetchPackage(name, dir string) error {
	temp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	download := func() error {
		return quietly(temp, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name)
	}
	if download() != nil {
		// The lists are missing, or name a version that is gone. Not root: then they stay so.
		_ = quietly(temp, "apt-get", "-q", "update")
		if err := download(); err != nil {
			return fmt.Errorf("fetching the package %s: %w", name, err)
		}
	}
	debs, err := filepath.Glob(filepath.Join(temp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("fetching the package %s: found %v (%v)", name, debs, err)
	}
	unpacked := filepath.Join(temp, "unpacked")
	if err := quietly(temp, "dpkg-deb", "-x", debs[0], unpacked); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(unpacked, dir)
}

// quietly runs a command that prints only if it fails.
func quietly(dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(string(out), 2000))
	}
	return nil
}

// Prometheus is a real Prometheus on loopback.
type Prometheus struct {
	URL string
	process
}

// StartPrometheus starts a Prometheus with that configuration (prometheus.yml),
// which is ready, and ends it when the test ends.
func StartPrometheus(tb TB, config string) *Prometheus {
	tb.Helper()
	binary, err := PrometheusBinary("prometheus")
	if err != nil {
		tb.Fatalf("no prometheus: %v", err)
	}
	dir, err := os.MkdirTemp("", "lbshipd-prometheus-")
	if err != nil {
		tb.Fatalf("making prometheus's directory: %v", err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		tb.Fatalf("writing prometheus's configuration: %v", err)
	}
	ports, err := freePorts(1)
	if err != nil {
		tb.Fatalf("finding a port for prometheus: %v", err)
	}
	p := &Prometheus{URL: "http://127.0.0.1:" + ports[0], process: process{log: filepath.Join(dir, "log")}}
	err = p.start(dir, []string{binary, "--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:" + ports[0]})
	if err != nil {
		tb.Fatalf("starting prometheus: %v", err)
	}
	tb.Cleanup(func() { p.end(syscall.SIGKILL) })
	err = p.untilReady(90*time.Second, func() bool { _, err := p.Get("/-/ready", nil); return err == nil })
	if err != nil {
		tb.Fatalf("prometheus: %v\n%s", err, tail(p.text(), 4000))
	}
	return p
}

// Get asks Prometheus for path with these parameters, and returns its answer.
func (p *Prometheus) Get(path string, parameters url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+path+"?"+parameters.Encode(), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status + ": " + strings.TrimSpace(string(body)))
	}
	return body, err
}
