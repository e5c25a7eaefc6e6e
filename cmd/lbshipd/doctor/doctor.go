// Package doctor looks for what keeps a daemon from doing its work, on the machine
// that it runs on or is to run on: what is wrong, where, why it matters, and
// the command that mends it. It changes nothing, starts no program, sends no record
// and ends within its time limit.
//
// Every check is one line in checks (registry.go), every finding one in Kinds
// (kinds.go, whose IDs are stable). A check is given the patient, which was
// looked at once before all of them.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/config/etcdstore"
)

// Options say which daemon is looked at, and how.
type Options struct {
	Version string
	// Config is the configuration file; empty if it is in etcd (Etcd), or the built-in Default.
	Config  string
	Etcd    *etcdstore.Options
	Default *config.Config
	// EtcdErr says why Etcd is not usable, such as a cluster key that cannot be read.
	EtcdErr error
	// ClusterKey is the file that secrets in etcd are sealed with.
	ClusterKey string

	Node    config.Node
	Dir     string // what relative names of files are relative to
	DataDir string
	Listen  string // of the admin port
	// Certs are certificates of the daemon's own flags, Secrets its other files that nobody else may read.
	Certs   []CertFile
	Secrets []string
	// User is whom the daemon runs as; empty: as it is found.
	User   string
	Daemon Daemon
	// Timeout bounds it all, and Each a check; zero: 30s and 15s.
	Timeout, Each time.Duration
}

// CertFile is a certificate that a flag names.
type CertFile struct{ Flag, Path string }

// Check is how one check went.
type Check struct {
	Name    string  `json:"name"`
	Family  string  `json:"family"`
	Status  string  `json:"status"`           // ok, found, or not-made: in part or at all
	Reason  string  `json:"reason,omitempty"` // why it could not be made
	Seconds float64 `json:"seconds"`
}

// Report is what was found.
type Report struct {
	Status   Level     `json:"status"` // of the worst finding, ok if there is none
	Version  string    `json:"version"`
	Daemon   string    `json:"daemon"` // which was looked at, in words
	Findings []Finding `json:"findings"`
	Checks   []Check   `json:"checks"`
}

// ExitCode is 0 if nothing was found, 1 if there are warnings only, 2 if there are errors.
func (r *Report) ExitCode() int {
	switch r.Status {
	case Error:
		return 2
	case Warning:
		return 1
	}
	return 0
}

// Run makes all checks.
func Run(ctx context.Context, o Options) Report {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Each <= 0 {
		o.Each = min(15*time.Second, o.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	p := &patient{Options: o}
	// What the others need comes first, in the same way: it may hang as well.
	results := []*result{runCheck(ctx, p, check{"settings", "configuration", examine}, o.Each)}
	r := Report{Status: OK, Version: o.Version, Findings: []Finding{}, Checks: []Check{}}
	if p, ok := p.ready(); ok {
		r.Daemon = p.describe()
		rest := make([]*result, len(checks))
		var wg sync.WaitGroup
		for i, c := range checks {
			wg.Go(func() { rest[i] = runCheck(ctx, p, c, o.Each) })
		}
		wg.Wait()
		results = append(results, rest...)
	}
	for _, x := range results {
		findings, c := x.close()
		r.Findings, r.Checks = append(r.Findings, findings...), append(r.Checks, c)
	}
	r.Findings = tidy(r.Findings)
	for _, f := range r.Findings {
		if r.Status != Error {
			r.Status = f.Level
		}
	}
	return r
}

// tidy puts errors first, and takes out what is found twice.
func tidy(all []Finding) []Finding {
	slices.SortStableFunc(all, func(a, b Finding) int { return b.Level.rank() - a.Level.rank() })
	type key struct{ id, where string }
	seen, failing := map[key]bool{}, map[string]bool{}
	for _, f := range all {
		failing[f.Where] = failing[f.Where] || f.probed
	}
	return slices.DeleteFunc(all, func(f Finding) bool {
		k := key{f.ID, f.Where + f.What}
		again := seen[k]
		seen[k] = true
		// What the daemon says of a target is said more exactly by its test, if that has failed too.
		return again || f.secondhand && failing[f.Where]
	})
}

// check is one check.
type check struct {
	name   string
	family string
	run    func(context.Context, *patient, *result)
}

// result is what one check has found. It may be used by goroutines that outlive
// the check's time: what comes then is dropped.
type result struct {
	mu     sync.Mutex
	closed bool
	check  Check
	found  []Finding
	why    []string
}

// runCheck makes one check; one that hangs, in a system call that cannot be
// ended, is left behind.
func runCheck(ctx context.Context, p *patient, c check, limit time.Duration) *result {
	r := &result{check: Check{Name: c.name, Family: c.family}}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		c.run(ctx, p, r)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done:
		case <-time.After(grace):
			r.notMade("it did not end within %s", time.Since(start).Round(time.Second))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.check.Seconds = time.Since(start).Seconds()
	return r
}

// grace is how long a check may take to notice that its time is over.
const grace = 500 * time.Millisecond

// notMade says why a check could not be made, or a part of it.
func (r *result) notMade(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if text := fmt.Sprintf(format, args...); !r.closed && !slices.Contains(r.why, text) {
		r.why = append(r.why, text)
	}
}

// add notes a finding.
func (r *result) add(f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.found = append(r.found, f)
	}
}

// count is how many findings there are.
func (r *result) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.found)
}

func (r *result) close() ([]Finding, Check) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.check.Status = "ok"
	if len(r.found) > 0 {
		r.check.Status = "found"
	}
	if len(r.why) > 0 {
		r.check.Status, r.check.Reason = "not-made", joined(r.why)
	}
	return r.found, r.check
}

// joined puts a few texts into one.
func joined(texts []string) string {
	const most = 3
	if more := len(texts) - most; more > 0 {
		texts = append(slices.Clone(texts[:most]), fmt.Sprintf("and %d more", more))
	}
	var errs []error
	for _, t := range texts {
		errs = append(errs, errors.New(t))
	}
	return oneLine(errors.Join(errs...).Error())
}
