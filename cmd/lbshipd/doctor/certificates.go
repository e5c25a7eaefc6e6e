package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// expiresSoon is how long before its end a certificate is warned of.
const expiresSoon = 30 * 24 * time.Hour

// checkCertificates looks at the dates of all certificates that the daemon is given.
func checkCertificates(_ context.Context, p *patient, r *result) {
	now := time.Now()
	if p.cfg != nil {
		for i := range p.cfg.TLSBundles {
			b := &p.cfg.TLSBundles[i]
			where := fmt.Sprintf("tls-bundle %q", b.Name)
			p.lookAtCertificates(r, where, "the authority", b.CAFile, b.CAPem, now)
			p.lookAtCertificates(r, where, "the certificate", b.CertFile, b.CertPem, now)
		}
	}
	for _, c := range p.Certs {
		if c.Path == "" {
			continue
		}
		text, err := os.ReadFile(p.absolute(c.Path))
		switch {
		case errors.Is(err, fs.ErrNotExist): // the check of the files says it
		case err != nil:
			r.notMade("the certificate of --%s: %v", c.Flag, err)
		default:
			p.lookAtCertificates(r, "--"+c.Flag, "the certificate", p.absolute(c.Path), string(text), now)
		}
	}
}

// lookAtCertificates looks at all certificates of a PEM text. path is where it is from, "" if it is no file.
func (p *patient) lookAtCertificates(r *result, where, what, path, text string, now time.Time) {
	if text == "" && path == "" {
		return
	}
	renew := []Remedy{say("Have it renewed, and put it into the TLS bundle: lbshipd edit, or caPem and certPem of the configuration.")}
	if path != "" {
		where += " (" + path + ")"
		renew = []Remedy{run("See which it is.", "openssl x509 -in %s -noout -subject -issuer -dates", quoted(path)),
			say("Have it renewed and replace the file; it is read again when it changes. A credential (/etc/lbshipd/credentials) takes a restart as well: systemctl restart lbshipd")}
	}
	n := 0
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		n++
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			r.add(found("certificate-unusable", where, fmt.Sprintf("certificate %d: %v", n, err), renew...))
			continue
		}
		name := fmt.Sprintf("%s %q ", what, c.Subject.String())
		switch {
		case now.After(c.NotAfter):
			r.add(found("certificate-expired", where, name+"expired on "+c.NotAfter.UTC().Format(time.RFC3339), renew...))
		case now.Before(c.NotBefore):
			r.add(found("certificate-not-yet-valid", where, name+"is not valid before "+c.NotBefore.UTC().Format(time.RFC3339)+"; here it is "+now.UTC().Format(time.RFC3339),
				append([]Remedy{run("See whether the clock is right.", "date -u")}, renew...)...))
		case now.Add(expiresSoon).After(c.NotAfter):
			r.add(found("certificate-expires", where, fmt.Sprintf("%sexpires on %s, in %d days", name, c.NotAfter.UTC().Format(time.RFC3339), int(c.NotAfter.Sub(now).Hours()/24)), renew...))
		}
	}
	if n == 0 {
		r.add(found("certificate-unusable", where, "there is no certificate in it", renew...))
	}
}
