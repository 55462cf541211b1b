/* serve_config.c - see serve_config.h: what the home knows of a server, a volume and this device. */
#include "fs/serve_config.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "proto/noise.h"
#include "proto/wrap.h"

int
serve_configure(struct shell_config *to, struct serve_secrets *secrets, struct home *home,
    const struct home_server *server, const struct home_volume *volume, char *why, size_t size)
{
	uint8_t public[KEY_SIZE], wrap_key[KEY_SIZE];
	struct home_session old;
	int r;

	*secrets = (struct serve_secrets){ 0 };
	r = home_device(home, false, &secrets->device);
	if (r < 0) {
		snprintf(why, size, "this device's key cannot be read: %s", strerror(-r));
		return r;
	}
	secrets->volume_key = sodium_malloc(KEY_SIZE);
	if (secrets->volume_key == NULL) {
		snprintf(why, size, "out of locked memory");
		r = -ENOMEM;
		goto out;
	}
	wrap_key_of_device(secrets->device, wrap_key);
	r = wrap_open(wrap_key, volume->id, (struct bytes){ volume->wrap, WRAP_SIZE }, secrets->volume_key);
	sodium_memzero(wrap_key, sizeof wrap_key);
	if (r < 0) {
		snprintf(why, size, "the volume's key does not open with this device's key; join it again");
		goto out;
	}
	*to = (struct shell_config){ .addresses = server->addresses, .device_secret = secrets->device,
	    .volume_key = secrets->volume_key };
	noise_public(secrets->device, public);
	for (int i = 0; i < 8; i++)
		to->writer = to->writer << 8 | public[i];
	memcpy(to->server_key, server->key, KEY_SIZE);
	memcpy(to->volume, volume->id, VOLUME_ID_SIZE);
	if (home_session_load(home, volume->id, &old) == 0) {
		to->replaces = old.id;
		memcpy(to->replaces_secret, old.secret, SECRET_SIZE);
	}
	r = home_version_load(home, volume->id, &to->version);
	if (r < 0)
		snprintf(why, size, "the version last seen cannot be read: %s", strerror(-r));
out:
	if (r < 0)
		serve_secrets_done(secrets);
	return r;
}

void
serve_secrets_done(struct serve_secrets *secrets)
{
	sodium_free(secrets->device);
	sodium_free(secrets->volume_key);
	*secrets = (struct serve_secrets){ 0 };
}
