# Manual pages.
dist_man_MANS += man/nuage.1
dist_man_MANS += man/nuage-protocol.5
dist_man_MANS += man/nuaged.8 man/nuaged.conf.5
