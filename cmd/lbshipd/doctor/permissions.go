package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// unreadable is the finding of a file of the daemon's own that its user cannot read.
func (p *patient) unreadable(id, path string, d *denial) Finding {
	what := "the user " + p.user.name + " cannot read it"
	at := path
	if d != nil && d.dir {
		what, at = fmt.Sprintf("the user %s may not enter %s on the way to it", p.user.name, d.at), d.at
	}
	group, mode := quoted(p.user.group()), "g+r"
	if at != path {
		mode = "g+x"
	}
	return found(id, path, what, run("Give it to the daemon's group.", "chgrp %s %s && chmod %s,o= %s", group, quoted(at), mode, quoted(at)))
}

// checkNamedFiles looks at the files that the configuration and the flags name.
func checkNamedFiles(_ context.Context, p *patient, r *result) {
	secret := map[string]bool{}
	var paths []string
	if p.given != nil {
		paths = p.given.Files(p.Dir)
		for i := range p.given.TLSBundles {
			secret[p.absolute(p.given.TLSBundles[i].KeyFile)] = true
		}
		for _, t := range p.given.Targets {
			if l := t.Loki; l != nil {
				secret[p.absolute(l.BearerTokenFile)] = true
				if l.BasicAuth != nil {
					secret[p.absolute(l.BasicAuth.PasswordFile)] = true
				}
			}
		}
	}
	for _, c := range p.Certs {
		paths = append(paths, p.absolute(c.Path))
	}
	for _, s := range p.Secrets {
		secret[p.absolute(s)] = true
		paths = append(paths, p.absolute(s))
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		if path != "" {
			p.lookAtNamed(r, path, secret[path])
		}
	}
	if p.Config != "" && p.given != nil {
		p.lookAtInlineSecrets(r)
	}
}

func (p *patient) absolute(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.Dir, path)
}

func (p *patient) lookAtNamed(r *result, path string, secret bool) {
	info, err := os.Stat(path)
	if name, ok := strings.CutPrefix(path, credentialsDir); ok && err != nil {
		p.lookAtCredential(r, path, name)
		return
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.add(found("named-file-missing", path, "the file is not there", run("See what is there.", "ls -l %s", quoted(filepath.Dir(path)))))
		return
	case errors.Is(err, fs.ErrPermission) && (isRoot() || p.user.uid != os.Geteuid()):
		r.notMade("whether %s can be read: %v", path, errOther)
		return
	}
	denied, err := p.user.mayRead(path)
	switch {
	case err != nil:
		r.notMade("whether %s may read %s: %v", p.user.name, path, err)
	case denied != nil:
		r.add(p.unreadable("named-file-unreadable", path, denied))
	}
	if secret && info != nil && info.Mode()&0o004 != 0 {
		r.add(exposed(path, info.Mode()))
	}
	if name, ok := strings.CutPrefix(path, credentialsDir); ok {
		exposedCredential(r, credentialsFrom+name)
	}
}

// exposedCredential looks at what a credential is made of. What it is handed over as is for the daemon alone.
func exposedCredential(r *result, from string) {
	info, err := os.Stat(from)
	dir, errDir := os.Stat(filepath.Dir(from))
	if err == nil && errDir == nil && info.Mode()&0o004 != 0 && dir.Mode()&0o001 != 0 {
		r.add(exposed(from, info.Mode()))
	}
}

// lookAtCredential looks at a file that systemd hands to the daemon, while it does not run.
func (p *patient) lookAtCredential(r *result, path, name string) {
	from := credentialsFrom + name
	switch _, err := os.Stat(from); {
	case errors.Is(err, fs.ErrNotExist):
		r.add(found("named-file-missing", path, "there is no credential "+from+" that it could be made of",
			run("Put it there, and restart the daemon, which is handed it only then.", "install -m 0600 %s %s && systemctl restart lbshipd", quoted(name), quoted(from))))
	case err != nil:
		r.notMade("whether there is a credential %s: run doctor as root", from)
	case p.pid > 0:
		exposedCredential(r, from)
		r.add(found("named-file-missing", path, "the credential was added after the daemon was started", run("Have it handed over.", "systemctl restart lbshipd")))
	default:
		exposedCredential(r, from)
	}
}

func exposed(path string, mode fs.FileMode) Finding {
	return found("secret-exposed", path, fmt.Sprintf("everybody on this machine may read it (mode %04o)", mode.Perm()),
		run("Take the permission away.", "chmod o= %s", quoted(path)))
}

// lookAtInlineSecrets looks at the configuration file itself, if there are secrets in it.
func (p *patient) lookAtInlineSecrets(r *result) {
	has := false
	for _, b := range p.given.TLSBundles {
		has = has || b.KeyPem != ""
	}
	for _, t := range p.given.Targets {
		if l := t.Loki; l != nil {
			has = has || l.BearerToken != "" || l.BasicAuth != nil && l.BasicAuth.Password != "" || strings.Contains(l.URL, "@")
		}
	}
	if info, err := os.Stat(p.Config); has && err == nil && info.Mode()&0o004 != 0 {
		r.add(exposed(p.Config, info.Mode()))
	}
}

// checkDataDir looks at whose the data directory is, and who uses it.
func checkDataDir(_ context.Context, p *patient, r *result) {
	dir := p.DataDir
	st, err := statT(dir)
	owner := quoted(p.user.name) + ":" + quoted(p.user.group())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.lookAtParent(r, dir, owner)
		return
	case err != nil && !isRoot() && p.user.uid != os.Geteuid():
		r.notMade("%s cannot be looked at: run doctor as root", dir)
		return
	}
	denied, err := p.user.may(dir, unix.R_OK|unix.W_OK|unix.X_OK)
	switch {
	case err != nil:
		r.notMade("whether %s may write to %s: %v", p.user.name, dir, err)
	case denied != nil && errors.Is(denied.err, unix.EROFS): // the check of the disk says it
	case denied != nil:
		r.add(found("data-dir-unwritable", dir, fmt.Sprintf("the user %s may not write to it: %v", p.user.name, denied.err),
			run("Give it to the daemon.", "chown -R %s %s && chmod 0700 %s", owner, quoted(dir), quoted(dir))))
	}
	if denied == nil && err == nil {
		p.lookIntoDataDir(r, dir, owner)
	}
	if st.Mode&0o005 != 0 {
		r.add(found("data-dir-exposed", dir, fmt.Sprintf("everybody on this machine may look into it (mode %04o)", st.Mode&0o7777),
			run("Take the permission away.", "chmod 0700 %s", quoted(dir))))
	}
	if pid := holder(filepath.Join(dir, "lock")); pid > 0 && p.status != nil && p.Daemon.PID > 0 && pid != p.Daemon.PID {
		r.add(found("data-dir-locked", dir, fmt.Sprintf("the process %d uses it, and another daemon (process %d) has answered", pid, p.Daemon.PID),
			run("See who that is.", "ps -fp %d", pid), say("Stop one of the two, or give each a directory of its own with --data-dir.")))
	}
}

// ownFiles are those that the daemon has in its data directory; whatever else is there is not its own.
var ownFiles = []string{"lock", "positions", "positions.previous", "history", "etcd-cache", "spool", "dead-letters"}

// maxOwn is how many of them are looked at.
const maxOwn = 5000

// lookIntoDataDir looks for files that the daemon cannot open, though the directory is its own: those of a
// backup that root has put back, or of a daemon that root has run.
func (p *patient) lookIntoDataDir(r *result, dir, owner string) {
	var denied *denial
	n := 0
	err := p.user.as(func() {
		for _, name := range ownFiles {
			filepath.WalkDir(filepath.Join(dir, name), func(path string, d fs.DirEntry, err error) error {
				if n++; n > maxOwn {
					return fs.SkipAll
				}
				if d == nil || !d.IsDir() && !d.Type().IsRegular() {
					return nil
				}
				mode := uint32(unix.R_OK | unix.W_OK)
				if d.IsDir() {
					mode |= unix.X_OK
				}
				if x := deniedAt(path, mode); x != nil && errors.Is(x.err, unix.EACCES) {
					denied = x
					return fs.SkipAll
				}
				return nil
			})
			if denied != nil {
				return
			}
		}
	})
	switch {
	case err != nil:
		r.notMade("whether %s may open what is in %s: %v", p.user.name, dir, err)
	case denied != nil:
		r.add(found("data-dir-unwritable", denied.at, fmt.Sprintf("the user %s may not read and write it: %v", p.user.name, denied.err),
			run("Give the whole data directory to the daemon; it tries again by itself.", "chown -R %s %s && chmod -R u+rwX %s", owner, quoted(dir), quoted(dir))))
	}
}

// lookAtParent looks whether the daemon could make its data directory. systemd makes the unit's.
func (p *patient) lookAtParent(r *result, dir, owner string) {
	if p.systemd() && p.unit.last("StateDirectory") != "" && filepath.Base(dir) == p.unit.last("StateDirectory") {
		return
	}
	parent := filepath.Dir(dir)
	for {
		if _, err := os.Stat(parent); err == nil || parent == filepath.Dir(parent) {
			break
		}
		parent = filepath.Dir(parent)
	}
	denied, err := p.user.may(parent, unix.W_OK|unix.X_OK)
	switch {
	case err != nil:
		r.notMade("whether %s may create %s: %v", p.user.name, dir, err)
	case denied != nil:
		r.add(found("data-dir-missing", dir, fmt.Sprintf("it is not there, and the user %s cannot create it in %s", p.user.name, parent),
			run("Create it.", "install -d -m 0700 -o %s -g %s %s", quoted(p.user.name), quoted(p.user.group()), quoted(dir))))
	}
}
