package support

import (
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/internal/scrub"
)

// Whatever is around it, the value of a variable in a unit is not shown.
func FuzzSettings(f *testing.F) {
	f.Add("X=", " Y=2", "[Service]\n")
	f.Add("\"A=b c\" 'Z=", "'", "# remark\\\n")
	f.Add("\\", "\"", "Environment=A=1 \\\n")
	f.Fuzz(func(t *testing.T, before, after, text string) {
		const secret = "v4lu30f4v4r14bl3"
		if strings.ContainsAny(before+after, "\n\r\\") || strings.Contains(text, secret) {
			return
		}
		out := settingsText("Environment=" + before + " NAME=" + secret + after + "\n" + text)
		// A word that is no assignment, because a quote or another sign is in front of it, is no variable's value.
		words, ok := split(before + " NAME=" + secret + after)
		assigned := ok
		for _, w := range words {
			if strings.Contains(w, secret) && !assignment.MatchString(w) {
				assigned = false
			}
			if m := assignment.FindStringSubmatch(w); m != nil && strings.Contains(w, secret) && shownVariable(m[1], m[2]) == m[1]+"="+m[2] {
				assigned = false // one that is shown, such as PATH
			}
		}
		if assigned && strings.Contains(out, secret) {
			t.Fatalf("%q shows the value", out)
		}
	})
}

// A configuration of any kind is gone through to its end, and what it names a password is known from then on.
func FuzzSecretsOf(f *testing.F) {
	f.Add("targets: [{name: a, loki: {url: 'http://u:p@h', basicAuth: {password: x}}}]", "hunter22hunter")
	f.Add("a: &a [*a]\nb: {<<: *a}", "secret-1")
	f.Add("\t- no: YAML\npassword: x", "secret-2")
	f.Add("{\"keys\":[", "secret-3")
	f.Fuzz(func(t *testing.T, text, secret string) {
		g := &gatherer{scrub: &scrub.Scrubber{}}
		// Files that are named are not read here: the text must name none that is there.
		if strings.Contains(text, "File") {
			return
		}
		g.secretsOf([]byte(text), "")
		plain := len(secret) >= 8 && strings.Trim(secret, "abcdefghijklmnopqrstuvwxyz0123456789") == "" && strings.Trim(secret, "0123456789.e") != ""
		if !plain {
			return
		}
		g.secretsOf([]byte("basicAuth:\n  password: "+secret+"\n"), "")
		if out := g.scrub.Text("see " + secret + "."); strings.Contains(out, secret) && !strings.Contains(scrub.Hidden, secret) {
			t.Fatalf("%q is left in %q", secret, out)
		}
	})
}
