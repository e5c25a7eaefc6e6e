package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
)

// How much two clocks may differ. The header Date has whole seconds, and may be as old as the answer took.
const (
	clockWarn  = 10 * time.Second
	clockError = 5 * time.Minute
)

// watch is another machine whose time can be asked for.
type watch struct {
	where string
	url   string
	certs []tls.Certificate
}

// checkClock compares this machine's clock with those of the targets and of etcd; only if none
// can be asked, it asks the kernel whether anything synchronises it.
func checkClock(ctx context.Context, p *patient, r *result) {
	watches := p.watches()
	seen := make([]bool, len(watches))
	var wg sync.WaitGroup
	for i := range watches {
		wg.Go(func() { seen[i] = compare(ctx, r, &watches[i]) })
	}
	wg.Wait()
	for _, ok := range seen {
		if ok {
			return
		}
	}
	if len(watches) > 0 {
		r.notMade("no other machine has told its time: whether anything synchronises the clock is all that is known")
	}
	var t unix.Timex // modes are zero: nothing is set
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		r.notMade("asking the kernel for the state of the clock: %v", err)
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		r.add(found("clock-unsynchronised", "clock", "the kernel says that nothing synchronises it", timeSync("Turn time synchronisation on.")...))
	}
}

func timeSync(text string) []Remedy {
	return []Remedy{
		run(text, "timedatectl set-ntp true"),
		run("See whether it has been reached.", "timedatectl timesync-status || chronyc tracking"),
	}
}

// watches lists whom the time can be asked of: what speaks HTTP.
func (p *patient) watches() []watch {
	var all []watch
	for _, t := range p.targets() {
		if t.Loki == nil {
			continue
		}
		u, err := url.Parse(t.Loki.URL)
		if err != nil {
			continue
		}
		u.User, u.Path, u.RawQuery = nil, "/", "" // nobody's password is sent
		all = append(all, watch{fmt.Sprintf("target %q", t.Name), u.String(), clientCerts(p.cfg.TLSBundle(t))})
	}
	if p.Etcd != nil {
		var certs []tls.Certificate
		if pair, err := tls.LoadX509KeyPair(p.Etcd.CertFile, p.Etcd.KeyFile); p.Etcd.CertFile != "" && err == nil {
			certs = append(certs, pair)
		}
		for _, e := range p.Etcd.Endpoints {
			if !strings.Contains(e, "://") {
				e = map[bool]string{true: "https://", false: "http://"}[p.Etcd.CAFile != "" || p.Etcd.CertFile != ""] + e
			}
			if strings.HasPrefix(e, "http") {
				all = append(all, watch{"etcd " + e, e + "/version", certs})
			}
		}
	}
	return all
}

func clientCerts(b *config.TLSBundle) []tls.Certificate {
	if b == nil || b.CertPem == "" {
		return nil
	}
	pair, err := tls.X509KeyPair([]byte(b.CertPem), []byte(b.KeyPem.Reveal()))
	if err != nil {
		return nil
	}
	return []tls.Certificate{pair}
}

// compare asks for the time, and reports whether it was told.
func compare(ctx context.Context, r *result, w *watch) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, w.url, nil)
	if err != nil {
		return false
	}
	// The server is not verified: with a clock that is wrong its certificate would seem expired, and nothing
	// but the time is asked. What a wrong server says of it could only make us look at our clock.
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: w.certs}}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	start := time.Now()
	answer, err := client.Do(req)
	if err != nil {
		return false
	}
	answer.Body.Close()
	end := time.Now()
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return false
	}
	// It was written between start and end, and its second has not been over by then.
	var off time.Duration // by how much ours is ahead
	switch {
	case date.Add(time.Second).Before(start):
		off = start.Sub(date.Add(time.Second))
	case date.After(end):
		off = end.Sub(date)
	}
	if off.Abs() < clockWarn {
		return true
	}
	how := "ahead of"
	if off < 0 {
		how = "behind"
	}
	f := found("clock-off", w.where, fmt.Sprintf("this machine's clock is %s %s its clock: here it is %s, there %s", off.Abs().Round(time.Second), how,
		end.UTC().Format(time.RFC3339), date.UTC().Format(time.RFC3339)), timeSync("If it is this machine's that is wrong: have it synchronised.")...)
	if off.Abs() < clockError {
		f = f.at(Warning)
	}
	r.add(with(f, run("Else the same on that machine; compare with a third one.", "date -u")))
	return true
}

var errNoDir = errors.New("there is no directory")

// existing is the path itself, or the next above it that is there.
func existing(path string) (string, error) {
	for {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		up := parentOf(path)
		if up == path {
			return "", errNoDir
		}
		path = up
	}
}
