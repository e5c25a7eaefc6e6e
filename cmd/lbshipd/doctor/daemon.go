package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sinks"
)

// askAtMost is how long the daemon may take to answer.
const askAtMost = 5 * time.Second

// ask asks the daemon for its status: by its socket, else at its admin port, for which nobody needs
// a token.
func (p *patient) ask(ctx context.Context) (st *admin.Status, at string, err error) {
	var endpoints []string
	if p.Daemon.Socket != "" {
		endpoints = append(endpoints, "unix:"+p.Daemon.Socket)
	}
	if p.Listen != "" && p.Listen != "off" && (p.pid > 0 || !isRoot()) {
		endpoints = append(endpoints, "http://"+p.Listen)
	}
	if len(endpoints) == 0 {
		return nil, "", fs.ErrNotExist
	}
	for _, at = range endpoints {
		if st, err = askAt(ctx, at, p.Version); err == nil {
			break
		}
	}
	return st, at, err
}

func askAt(ctx context.Context, endpoint, version string) (*admin.Status, error) {
	api, err := client.New(client.Options{Endpoint: endpoint, Timeout: askAtMost, Agent: "lbshipd-doctor/" + version})
	if err != nil {
		return nil, err
	}
	body, err := api.Status(ctx)
	if err != nil {
		return nil, err
	}
	st := new(admin.Status)
	if err := json.Unmarshal(body, st); err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", endpoint, err)
	}
	return st, nil
}

// checkDaemon tells what the running daemon says of itself.
func checkDaemon(_ context.Context, p *patient, r *result) {
	logs := run("See what it says.", "journalctl -u lbshipd -n 50 --no-pager")
	switch {
	case p.status != nil:
		p.lookAtStatus(r, p.status)
	case p.pid > 0 && errors.Is(p.askErr, fs.ErrPermission):
		r.notMade("%s may be asked by root and by the daemon's user", p.asked)
	case p.pid > 0 && errors.Is(p.askErr, fs.ErrNotExist):
		r.notMade("where the daemon (process %d) can be asked is not known: name its socket with --admin-socket", p.pid)
	case p.pid > 0:
		r.add(found("daemon-no-answer", p.asked, fmt.Sprintf("the process %d is there, and does not answer: %v", p.pid, p.askErr), logs,
			run("If it hangs, this ends it and starts it anew; why it hung is in its log then.", "systemctl kill -s SIGABRT lbshipd")))
	case !isRoot() && errors.Is(unix.Access(filepath.Join(p.DataDir, "lock"), unix.F_OK), unix.EACCES):
		r.notMade("whether a daemon uses %s is for root to see", p.DataDir)
	case p.unit.masked != "":
		unmask := "systemctl unmask lbshipd"
		if strings.HasPrefix(p.unit.masked, "/run/") {
			unmask = "systemctl unmask --runtime lbshipd"
		}
		r.add(found("daemon-not-running", unitName, fmt.Sprintf("no daemon uses %s, and systemd will not start one: the unit is masked by %s", p.DataDir, p.unit.masked),
			run("Let it be started again, and start it.", "%s && systemctl start lbshipd", unmask), logs))
	case p.unit.is():
		r.add(found("daemon-not-running", unitName, "no daemon uses "+p.DataDir, run("Start it.", "systemctl start lbshipd"), logs))
	default:
		r.add(found("daemon-not-running", p.DataDir, "no daemon uses it", run("Start it.", "lbshipd run --data-dir %s", quoted(p.DataDir))))
	}
}

// lookAtStatus makes findings of a status.
func (p *patient) lookAtStatus(r *result, st *admin.Status) {
	before := r.count()
	if st.Config.Refused != "" && !strings.Contains(st.Config.Refused, config.ErrUnavailable.Error()) {
		f := found("config-refused", "configuration", st.Config.Refused)
		if p.Config != "" {
			f.Mend = []Remedy{run("Correct it; the daemon reads it again by itself.", "lbshipd check %s", quoted(p.Config))}
		}
		r.add(f)
	}
	if st.Config.Cached || st.Config.StoreAwaySince != nil {
		what := "what etcd held last is running"
		if since := st.Config.StoreAwaySince; since != nil {
			what = "etcd cannot be reached since " + since.Format(time.RFC3339) + "; " + what
		}
		r.add(found("store-away", "configuration", what, say("See the findings of etcd. Until it is back nothing can be changed; logs are shipped all the same.")))
	}
	for _, x := range st.Config.Rejected {
		f := rejected(x)
		f.Mend = []Remedy{p.edit("Correct it.", x.Kind, x.Name)}
		if p.cfg != nil && p.rejectedHere(x) {
			continue
		}
		r.add(f)
	}
	if st.Positions.Error != "" {
		r.add(found("positions-not-saved", p.DataDir, st.Positions.Error, run("See what room there is, and whose it is.", "df -h %s; df -i %s; ls -ld %s", quoted(p.DataDir), quoted(p.DataDir), quoted(p.DataDir))))
	}
	for i := range st.Sources {
		p.lookAtSource(r, &st.Sources[i])
	}
	for i := range st.Targets {
		p.lookAtTarget(r, &st.Targets[i])
	}
	for i := range st.Ledger {
		p.lookAtRow(r, &st.Ledger[i], st.Reasons)
	}
	for _, reason := range st.Reasons {
		if r.count() == before || strings.Contains(reason, "dead letters") || strings.Contains(reason, "where it is to start") {
			r.add(found("daemon-degraded", "daemon", reason, run("See its status, and its log.", "lbshipd status; journalctl -u lbshipd -n 50 --no-pager")))
		}
	}
}

// rejectedHere reports whether an object that the daemon does without is not there in what doctor has read:
// then that was said, with more.
func (p *patient) rejectedHere(x config.Rejected) bool {
	for i := range p.cfg.Targets {
		if x.Kind == config.KindTarget && p.cfg.Targets[i].Name == x.Name {
			return false
		}
	}
	for i := range p.cfg.Sources {
		if x.Kind == config.KindSource && p.cfg.Sources[i].Name == x.Name {
			return false
		}
	}
	for i := range p.cfg.TLSBundles {
		if x.Kind == config.KindTLSBundle && p.cfg.TLSBundles[i].Name == x.Name {
			return false
		}
	}
	return true
}

func (p *patient) lookAtSource(r *result, s *admin.SourceStatus) {
	where := fmt.Sprintf("source %q", s.Name)
	if s.Error != "" {
		r.add(found("source-error", where, s.Error, run("See what the daemon says of it.", "journalctl -u lbshipd --since -10min --no-pager | grep 'source=%s'", s.Name)))
	}
	if !s.Silent {
		return
	}
	f := found("source-silent", where, "nothing was read from it for "+screen.Seconds(s.QuietSeconds)+", longer than its silentAfter")
	for _, c := range p.sources() {
		if c.Name != s.Name {
			continue
		}
		switch {
		case c.File != nil:
			f = with(f, run("See when its files were written last.", "ls -l --time-style=full-iso %s", strings.Join(c.File.Paths, " ")))
		case len(c.Journald.Units) > 0:
			f = with(f, run("See whether the service runs.", "systemctl status %s", words(c.Journald.Units)), run("See what it logged last.", "journalctl -n 5 --no-pager%s", flags(" -u ", c.Journald.Units)))
		default:
			f = with(f, run("See what was logged last.", "journalctl -n 5 --no-pager%s", flags(" -t ", c.Journald.Identifiers)))
		}
	}
	r.add(with(f, say("If it may be silent for so long: raise silentAfter of the source.")))
}

func words(list []string) string { return strings.TrimSpace(flags(" ", list)) }

// flags writes a flag before each of a list.
func flags(flag string, list []string) string {
	var b strings.Builder
	for _, x := range list {
		b.WriteString(flag + quoted(x))
	}
	return b.String()
}

func (p *patient) lookAtTarget(r *result, t *admin.TargetStatus) {
	where := fmt.Sprintf("target %q", t.Name)
	if t.Class != "" {
		id := map[string]string{sinks.ClassResolve: "target-dns", sinks.ClassConnect: "target-refused", sinks.ClassTimeout: "target-unreachable",
			sinks.ClassTLS: "target-tls", sinks.ClassAuth: "target-auth", sinks.ClassLimited: "target-rate-limited"}[t.Class]
		if id == "" {
			id = "target-failing"
		}
		what := "the daemon says: " + t.Error
		if t.FailingSince != nil {
			what = fmt.Sprintf("the daemon says, since %s: %s", t.FailingSince.Format(time.RFC3339), t.Error)
		}
		f := p.targetFinding(id, p.target(t), what)
		f.secondhand = true
		r.add(f)
	}
	if sp := t.Spool; sp != nil && sp.Error != "" {
		r.add(found("spool-failing", where, sp.Error, run("See what room there is.", "df -h %s; df -i %s", quoted(p.DataDir), quoted(p.DataDir))))
	}
	if sp := t.Spool; sp != nil && sp.Full {
		r.add(found("spool-full", where, fmt.Sprintf("it holds %s of %s", screen.Size(sp.Bytes), screen.Size(sp.Limit)),
			run("See why the target does not take it.", "lbshipd test target %s", quoted(t.Name)), say("Or raise maxBytes of its spool.")))
	}
}

// target is the configuration of a target that runs, or what is known of it.
func (p *patient) target(t *admin.TargetStatus) *config.Target {
	for _, c := range p.targets() {
		if c.Name == t.Name {
			return c
		}
	}
	return &config.Target{Name: t.Name}
}

func (p *patient) lookAtRow(r *result, row *admin.LedgerStatus, reasons []string) {
	where := fmt.Sprintf("source %q, target %q", row.Source, row.Target)
	if row.Difference != 0 {
		r.add(found("ledger-difference", where, fmt.Sprintf("%d records too many were read", row.Difference), run("Collect what helps to find the fault.", "lbshipd support-bundle")))
	}
	// Whether it is near enough to be told is the daemon's to say.
	about := fmt.Sprintf("source %q is about to drop ", row.Source)
	for _, reason := range reasons {
		if strings.HasPrefix(reason, about) && strings.Contains(reason, fmt.Sprintf("target %q", row.Target)) {
			r.add(found("at-risk", where, reason, run("See why the target does not take it.", "lbshipd test target %s", quoted(row.Target)),
				say("Meanwhile: have the source keep more (SystemMaxUse= in journald.conf, or rotate in logrotate), or give the target a spool.")))
		}
	}
}
