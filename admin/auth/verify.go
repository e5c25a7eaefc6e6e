package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxToken bounds a token, in bytes.
const maxToken = 16 << 10

// VerifierOptions say which tokens are taken.
type VerifierOptions struct {
	// Keys verify the signatures; nil: no token is taken.
	Keys *Keyring
	// Audience lists what aud must hold one of. Empty: a token that has an aud
	// is refused, since it is for somebody else (RFC 7519 section 4.1.3).
	Audience []string
	// Issuer is what iss must be; "": any.
	Issuer string
	// Leeway is by how much clocks may differ.
	Leeway time.Duration
	// RolesClaim is where the roles are: a claim's name, or a path into nested
	// objects divided by dots. "": "roles".
	RolesClaim string
	// RoleMap says what names of roles mean, before those of ParseRole.
	RoleMap map[string]Role
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Verifier takes tokens: JWTs (RFC 7519) as JWS in compact form, signed with
// RS256, ES256, ES384 or EdDSA, following RFC 8725. Its methods may be called from several
// goroutines.
type Verifier struct {
	o      VerifierOptions
	parser *jwt.Parser
}

// NewVerifier returns a verifier; the caller closes the keyring.
func NewVerifier(o VerifierOptions) *Verifier {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.RolesClaim == "" {
		o.RolesClaim = "roles"
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms), jwt.WithStrictDecoding(), jwt.WithTimeFunc(o.Now), jwt.WithLeeway(o.Leeway),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithIssuer(o.Issuer),
	}
	if len(o.Audience) > 0 {
		options = append(options, jwt.WithAudience(o.Audience...))
	}
	return &Verifier{o: o, parser: jwt.NewParser(options...)}
}

// Verify returns whom the token is for. Errors are *Refusal.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	id, _, refusal := v.verify(ctx, token)
	if refusal != nil {
		return Identity{}, refusal
	}
	return id, nil
}

// Inspect is Verify, and returns the claims also if it is only the role that
// is missing.
func (v *Verifier) Inspect(ctx context.Context, token string) (Identity, map[string]any, error) {
	id, c, refusal := v.verify(ctx, token)
	switch {
	case refusal == nil:
		return id, c.MapClaims, nil
	case c == nil:
		return Identity{}, nil, refusal
	}
	return Identity{}, c.MapClaims, refusal
}

func (v *Verifier) verify(ctx context.Context, token string) (Identity, *claims, *Refusal) {
	if v.o.Keys == nil {
		return Identity{}, nil, unauthenticated("no token keys are configured (--jwt-keys): use the Unix socket")
	}
	if len(token) > maxToken {
		return Identity{}, nil, invalidToken(fmt.Sprintf("it has more than %d bytes", maxToken))
	}
	head, refusal := parseHeader(token)
	if refusal != nil {
		return Identity{}, nil, refusal
	}
	c, refusal := v.signed(ctx, token, head)
	if refusal != nil {
		return Identity{}, nil, refusal // c may be half read
	}
	id, refusal := v.identity(c)
	return id, c, refusal
}

// header is what counts of a token's header (RFC 7515 section 4.1). Keys and
// URLs that it brings along (jwk, jku, x5c, x5u) do not.
type header struct{ alg, kid string }

func parseHeader(token string) (header, *Refusal) {
	first, rest, _ := strings.Cut(token, ".")
	if strings.Count(rest, ".") != 1 {
		return header{}, invalidToken("it is no JWT of three parts divided by dots")
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil {
		return header{}, invalidToken("its header is not base64url")
	}
	m, err := parseObject(text)
	if err != nil {
		return header{}, invalidToken("its header cannot be read: " + err.Error())
	}
	// Extensions that must be understood: we understand none (RFC 7515 section 4.1.11).
	if _, ok := m["crit"]; ok {
		return header{}, invalidToken("its header wants extensions (crit) that are not supported")
	}
	h := header{}
	var ok bool
	if h.alg, ok = m["alg"].(string); !ok || !slices.Contains(algorithms, h.alg) {
		return header{}, invalidToken(fmt.Sprintf("its algorithm %.32q is not one of %s", fmt.Sprint(m["alg"]), strings.Join(algorithms, ", ")))
	}
	kid, named := m["kid"]
	if !named {
		return h, nil
	}
	if h.kid, ok = kid.(string); !ok || len(h.kid) > maxKid {
		return header{}, invalidToken(fmt.Sprintf("its kid is no string of at most %d bytes", maxKid))
	}
	return h, nil
}

// signed verifies the signature with the keys that fit, and then the times,
// the audience and the issuer. If no key fits, the keys are read again.
func (v *Verifier) signed(ctx context.Context, token string, head header) (*claims, *Refusal) {
	set := v.o.Keys.set.Load()
	c, refusal, again := v.try(token, head, set)
	if again && v.o.Keys.refresh(ctx, set) {
		c, refusal, again = v.try(token, head, v.o.Keys.set.Load())
	}
	if !again {
		return c, refusal
	}
	if why, missing := v.o.Keys.missing(); missing {
		if why == "" {
			why = "they are being fetched"
		}
		return nil, unavailable("the token cannot be verified: not all token keys (--jwt-keys) could be fetched yet: "+why, soonestURL)
	}
	return nil, refusal
}

// try reports with again that another key might fit.
func (v *Verifier) try(token string, head header, set *keySet) (c *claims, refusal *Refusal, again bool) {
	fit, named := set.find(head.kid, head.alg)
	if len(fit) == 0 {
		why := fmt.Sprintf("no key is called like its kid %.64q (--jwt-keys)", head.kid)
		switch {
		case named:
			why = fmt.Sprintf("the key %.64q is not one for its algorithm %s", head.kid, head.alg)
		case head.kid == "":
			why = fmt.Sprintf("no key is one for its algorithm %s (--jwt-keys)", head.alg)
		}
		return nil, invalidToken(why), true
	}
	c = &claims{}
	_, err := v.parser.ParseWithClaims(token, c, func(*jwt.Token) (any, error) {
		keys := jwt.VerificationKeySet{}
		for _, k := range fit {
			keys.Keys = append(keys.Keys, k)
		}
		return keys, nil
	})
	if err == nil {
		return c, v.checkAudience(c), false
	}
	return nil, v.explain(err, c), errors.Is(err, jwt.ErrTokenSignatureInvalid)
}

func (v *Verifier) checkAudience(c *claims) *Refusal {
	if aud, _ := c.GetAudience(); len(v.o.Audience) == 0 && len(aud) > 0 {
		return invalidToken(fmt.Sprintf("it is for the audience %.128q, and none is configured (--jwt-audience)", strings.Join(aud, ", ")))
	}
	return nil
}

// explain says in our words what golang-jwt found; its own might hold parts of
// the token. c is only believed where the signature was good.
func (v *Verifier) explain(err error, c *claims) *Refusal {
	now := v.o.Now()
	ago := func(d *jwt.NumericDate) string {
		if d == nil {
			return ""
		}
		return fmt.Sprintf(" (by %s; the clock here says %s)", now.Sub(d.Time).Abs().Round(time.Second), now.UTC().Format(time.RFC3339))
	}
	var malformed *claimsError
	switch {
	case errors.As(err, &malformed):
		return invalidToken("its claims cannot be read: " + malformed.text)
	case errors.Is(err, jwt.ErrTokenMalformed):
		return invalidToken("its claims or its signature are not base64url, or no JSON object")
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return invalidToken("its signature is not by any of the keys that fit it (--jwt-keys)")
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing) && c.MapClaims["exp"] == nil:
		return invalidToken("it has no exp: tokens must expire")
	case errors.Is(err, jwt.ErrTokenExpired):
		exp, _ := c.GetExpirationTime()
		return invalidToken("it has expired" + ago(exp))
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		nbf, _ := c.GetNotBefore()
		return invalidToken("it is not valid yet" + ago(nbf))
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		iat, _ := c.GetIssuedAt()
		return invalidToken("it was issued in the future" + ago(iat))
	case errors.Is(err, jwt.ErrTokenInvalidIssuer), errors.Is(err, jwt.ErrTokenRequiredClaimMissing) && c.MapClaims["iss"] == nil && v.o.Issuer != "":
		return invalidToken(fmt.Sprintf("its issuer is %.128q, not %q (--jwt-issuer)", c.MapClaims["iss"], v.o.Issuer))
	case errors.Is(err, jwt.ErrTokenInvalidAudience), errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return invalidToken(fmt.Sprintf("its audience is %.128q, not %q (--jwt-audience)", fmt.Sprint(c.MapClaims["aud"]), strings.Join(v.o.Audience, ", ")))
	}
	return invalidToken("it does not hold")
}

// identity takes name and role out of good claims.
func (v *Verifier) identity(c *claims) (Identity, *Refusal) {
	name, _ := c.GetSubject()
	if err := checkName(name); err != nil {
		return Identity{}, invalidToken(err.Error())
	}
	value, ok := lookup(c.MapClaims, v.o.RolesClaim)
	if !ok {
		return Identity{}, forbidden(fmt.Sprintf("the token of %q gives no role: it has no claim %s (--jwt-roles-claim)", name, v.o.RolesClaim))
	}
	names, ok := stringsOf(value)
	if !ok {
		return Identity{}, forbidden(fmt.Sprintf("the token of %q gives no role: its claim %s is neither a string nor a list of strings", name, v.o.RolesClaim))
	}
	id := Identity{Name: name, Via: "token"}
	for _, theirs := range names {
		id.Role = max(id.Role, v.role(theirs))
	}
	if id.Role == 0 {
		return Identity{}, forbidden(fmt.Sprintf("the token of %q gives no role: its claim %s holds none of %s",
			name, v.o.RolesClaim, strings.Join(v.roleNames(), ", ")))
	}
	return id, nil
}

func (v *Verifier) role(theirs string) Role {
	if r, ok := v.o.RoleMap[theirs]; ok {
		return r
	}
	r, _ := ParseRole(theirs)
	return r
}

// roleNames lists the names that give a role.
func (v *Verifier) roleNames() []string {
	names := []string{"admin", "system:cluster-admin", "editor", "viewer"}
	return append(names, slices.Sorted(maps.Keys(v.o.RoleMap))...)
}
