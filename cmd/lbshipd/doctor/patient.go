package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/config"
)

// patient is what the checks look at. examine fills it in; after that it does not change.
type patient struct {
	Options
	unit   unit
	user   identity
	pid    int    // of the daemon that uses the data directory or has answered; 0: none
	askErr error  // why the daemon has not told its status
	asked  string // where it was asked

	status *admin.Status  // nil: it has not told
	cfg    *config.Config // for this node, with what can be used of it; nil: there is none
	given  *config.Config // the same before files were read

	done atomic.Pointer[patient]
}

// ready returns what examine has found out, if it has come to its end.
func (p *patient) ready() (*patient, bool) {
	d := p.done.Load()
	return d, d != nil
}

// describe says what was looked at.
func (p *patient) describe() string {
	from := "the built-in configuration"
	switch {
	case p.Config != "":
		from = p.Config
	case p.Etcd != nil:
		from = "etcd at " + strings.Join(p.Etcd.Endpoints, ", ")
	}
	state := "no daemon runs"
	if p.status != nil {
		state = fmt.Sprintf("the daemon runs (%s)", p.status.Status)
	} else if p.pid > 0 {
		state = "a daemon runs"
	}
	if p.pid > 0 {
		state += fmt.Sprintf(", process %d", p.pid)
	}
	return fmt.Sprintf("%s; data in %s; as %s; %s", from, p.DataDir, p.user.from, state)
}

// examine finds out who the daemon is and what it is to do.
func examine(ctx context.Context, o *patient, r *result) {
	p := &patient{Options: o.Options, unit: loadUnit(unitDirs)}
	p.pid = p.Daemon.PID
	if pid := holder(filepath.Join(p.DataDir, "lock")); p.pid == 0 && pid > 0 {
		p.pid = pid
	}
	p.status, p.asked, p.askErr = p.ask(ctx)
	p.findUser(r)
	switch {
	case p.Etcd != nil:
		p.readEtcd(ctx, r)
	case p.Config != "":
		p.readFile(r)
	default:
		p.use(p.Default)
	}
	p.lookAtConfig(r)
	o.done.Store(p)
}

// findUser finds out whom the daemon runs as.
func (p *patient) findUser(r *result) {
	var err error
	switch {
	case p.User != "":
		if p.user, err = lookup(p.User); err == nil && p.unit.last("User") == p.user.name {
			p.user, err = p.unit.identity()
		}
	case p.pid > 0:
		p.user, err = ofProcess(procDir(p.pid))
	case p.unit.is() && os.Geteuid() == 0:
		p.user, err = p.unit.identity()
	default:
		p.user = own()
	}
	if err != nil {
		r.notMade("%v; what follows is of %s", err, userName(os.Geteuid()))
		p.user = own()
	}
}

// systemd reports whether the daemon is the unit's.
func (p *patient) systemd() bool {
	if !p.unit.is() {
		return false
	}
	return p.user.name == p.unit.last("User") || p.unit.last("User") == "" && p.user.uid == 0
}

// isRoot reports whether doctor may see everything.
func isRoot() bool { return os.Geteuid() == 0 }

// use takes the configuration over: what is for this node, with its files.
func (p *patient) use(c *config.Config) []config.Rejected {
	if c == nil {
		return nil
	}
	p.given = c.ForNode(p.Node)
	resolved, rejected := p.given.ResolveEach(p.Dir, p.readNamed)
	p.cfg = resolved
	return rejected
}

// credentials is where systemd puts the unit's credentials while it runs, and where they come from.
var (
	credentialsDir  = "/run/credentials/" + unitName + "/key_"
	credentialsFrom = "/etc/lbshipd/credentials/"
)

// readNamed reads a file that the configuration names. Credentials are there only while the unit
// runs: without it they are read where they come from.
func (p *patient) readNamed(path string, limit int64) ([]byte, fs.FileMode, error) {
	data, mode, err := config.ReadFile(path, limit)
	if name, ok := strings.CutPrefix(path, credentialsDir); ok && err != nil {
		if data, mode, again := config.ReadFile(credentialsFrom+name, limit); again == nil {
			return data, mode, nil
		}
	}
	return data, mode, err
}

// readFile reads the configuration file.
func (p *patient) readFile(r *result) {
	data, mode, err := config.ReadFile(p.Config, config.MaxFileBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.add(found("config-missing", p.Config, "the file is not there",
			run("See what is there.", "ls -l %s", quoted(filepath.Dir(p.Config))), say("Name another file with --config; docs/examples has some to begin with.")))
		return
	case errors.Is(err, fs.ErrPermission) && !isRoot() && p.user.uid != os.Geteuid():
		r.notMade("%s cannot be read: run doctor as root", p.Config)
		return
	case errors.Is(err, fs.ErrPermission):
		r.add(p.unreadable("config-unreadable", p.Config, nil))
		return
	case err != nil:
		r.add(found("config-invalid", p.Config, err.Error(), run("See what is wrong.", "lbshipd check %s", quoted(p.Config))))
		return
	}
	p.lookAtFile(r, mode)
	c, err := config.Parse(p.Config, data)
	if err != nil {
		p.invalid(r, err)
		return
	}
	for _, x := range p.use(c) {
		if !p.names(x) { // the check of its files says it, with more
			r.add(rejected(x, run("See every mistake.", "lbshipd check %s", quoted(p.Config))))
		}
	}
}

// names reports whether an object is rejected because of a file that it names and that cannot be read.
func (p *patient) names(x config.Rejected) bool {
	for _, f := range p.given.Files(p.Dir) {
		if _, _, err := p.readNamed(f, 1<<20); err != nil && strings.Contains(x.Reason, err.Error()) {
			return true
		}
	}
	return false
}

// lookAtFile looks at who may read and write the file.
func (p *patient) lookAtFile(r *result, mode fs.FileMode) {
	denied, err := p.user.mayRead(p.Config)
	switch {
	case err != nil:
		r.notMade("whether %s may read %s: %v", p.user.name, p.Config, err)
	case denied != nil:
		r.add(p.unreadable("config-unreadable", p.Config, denied))
	}
	if mode&0o002 != 0 {
		r.add(found("config-writable", p.Config, fmt.Sprintf("everybody on this machine may write it (mode %04o)", mode.Perm()),
			run("Take the permission away.", "chmod o-w %s", quoted(p.Config))))
	}
}

func (p *patient) invalid(r *result, err error) {
	mend := run("Correct it, then see whether that is all.", "lbshipd check %s", quoted(p.Config))
	var problems config.Problems
	if !errors.As(err, &problems) {
		r.add(found("config-invalid", p.Config, err.Error(), mend))
		return
	}
	for _, x := range problems {
		where := p.Config
		if x.Line > 0 {
			where = fmt.Sprintf("%s:%d", p.Config, x.Line)
		}
		x.File = ""
		r.add(found("config-invalid", where, x.String(), mend))
	}
}

// rejected is the finding of an object that cannot be used.
func rejected(x config.Rejected, mend ...Remedy) Finding {
	return found("object-rejected", fmt.Sprintf("%s %q", x.Kind, x.Name), x.Reason, mend...)
}

// lookAtConfig looks at the configuration as a whole.
func (p *patient) lookAtConfig(r *result) {
	if p.cfg == nil {
		return
	}
	for _, w := range p.cfg.Warnings() {
		// Certificates and secrets are looked at by themselves, with another threshold.
		if strings.HasPrefix(w.Message, "certificate of ") || strings.HasPrefix(w.Message, "everybody on this machine") {
			continue
		}
		if len(p.cfg.Targets) == 0 && w.Object == "" {
			continue // no-target
		}
		where := w.Object
		if where == "" {
			where = "configuration"
		}
		f := found("config-warning", where, w.String())
		if p.Config != "" {
			f.Mend = []Remedy{run("Correct it, then see what else there is.", "lbshipd check %s", quoted(p.Config))}
		} else {
			f.Mend = []Remedy{say("Correct it with lbshipd edit.")}
		}
		r.add(f)
	}
	if len(p.targets()) == 0 {
		r.add(found("no-target", "configuration", "no target is enabled on the node "+p.Node.Name,
			p.create("targets: [{name: loki, loki: {url: http://loki.example.net:3100}}]", "lbshipd create target loki --loki-url http://loki.example.net:3100")))
	}
	if len(p.sources()) == 0 {
		r.add(found("no-source", "configuration", "no source is enabled on the node "+p.Node.Name,
			p.create(`sources: [{name: journal, journald: {units: [ssh, "ceph-*"]}}]`, "lbshipd create source journal --journald-units 'ssh,ceph-*'")))
	}
}

// create is how an object is made: see edit.
func (p *patient) create(lines, command string) Remedy {
	if p.Config != "" {
		return run("Add one, for instance: "+lines, "${EDITOR:-vi} %s", quoted(p.Config))
	}
	return run("Add one, for instance.", "%s", command)
}

// targets are those that are enabled.
func (p *patient) targets() (list []*config.Target) {
	if p.cfg == nil {
		return nil
	}
	for i := range p.cfg.Targets {
		if t := &p.cfg.Targets[i]; t.IsEnabled() {
			list = append(list, t)
		}
	}
	return list
}

// sources are those that are enabled.
func (p *patient) sources() (list []*config.Source) {
	if p.cfg == nil {
		return nil
	}
	for i := range p.cfg.Sources {
		if s := &p.cfg.Sources[i]; s.IsEnabled() {
			list = append(list, s)
		}
	}
	return list
}

func statT(path string) (st unix.Stat_t, err error) {
	err = unix.Stat(path, &st)
	return st, err
}
