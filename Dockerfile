# One image for the operator and its runners. With a registry: docker build .
# Without one (hack/image.sh): the base images are ours, and the packages and the built page come with the
# build context, in wheels/ and static/, so that no step needs a network.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG NODE_IMAGE=node:24-bookworm-slim
# The library that speaks to Interactive Brokers: ib_async or ib_insync, which cannot be installed together.
ARG IB_LIBRARY=ib_async

# --- the dashboard page -------------------------------------------------------------------------------
# (The patterns, here and below, are for what may not be there.)
FROM ${NODE_IMAGE} AS dashboard
COPY pyproject.toml operator/dashboar[d] /src/operator/dashboard/
COPY pyproject.toml stati[c] /src/static/
RUN mkdir -p /src/operator/openbell/web/static && cd /src/operator/dashboard \
    && if [ -e ../../static/index.html ]; then rm ../../static/pyproject.toml && cp -r ../../static/. ../openbell/web/static/; \
       elif [ -e package.json ]; then npm ci && npm run build; fi

# --- what we depend on, at the versions and hashes of the lock ------------------------------------------
FROM ${PYTHON_IMAGE} AS packages
ARG IB_LIBRARY
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
COPY requirements-runtime.lock requirements-ib_*.lock wheel[s] /wheels/
RUN python3 -m venv --without-pip /opt/openbell \
    && if ls /wheels/*.whl >/dev/null 2>&1; then offline="--no-index --find-links /wheels"; fi \
    && python3 -m venv /pip \
    && /pip/bin/pip --python /opt/openbell/bin/python install -q --no-compile --require-hashes ${offline:-} -r /wheels/requirements-runtime.lock \
    # Without what it depends on, which is in the lock above: it asks for an older list of time zones than ours.
    && /pip/bin/pip --python /opt/openbell/bin/python install -q --no-compile --require-hashes --no-deps ${offline:-} -r /wheels/requirements-${IB_LIBRARY}.lock \
    && cd /opt/openbell/lib/python3*/site-packages \
    && find . -name '*.c' -delete -o -name '*.pyx' -delete -o -name '*.pyi' -delete -o -name '*.a' -delete \
    && find . -type d -name tests -prune -exec rm -r {} + \
    # Of this package its configuration is read; a second client, 70 MB with what is compiled of it, is not used.
    && rm -r kubernetes/aio \
    && echo /opt/openbell/app > openbell-app.pth \
    # Compiled here once: the root file system is read-only when it runs.
    && /opt/openbell/bin/python -m compileall -q --invalidation-mode unchecked-hash .

# --- ourselves: small, and all that changes from day to day --------------------------------------------
FROM packages AS app
COPY pyproject.toml README.md LICENSE /src/
COPY operator/openbell /src/operator/openbell
COPY --from=dashboard /src/operator/openbell/web/static /src/operator/openbell/web/static
RUN cd /src && if ls /wheels/*.whl >/dev/null 2>&1; then offline="--no-index --find-links /wheels"; fi \
    && /pip/bin/pip wheel -q --no-deps ${offline:-} -w /dist . \
    && /pip/bin/pip --python /opt/openbell/bin/python install -q --no-compile --no-deps --no-index --target /app /dist/*.whl \
    && /opt/openbell/bin/python -m compileall -q --invalidation-mode unchecked-hash /app

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title=Openbell \
      org.opencontainers.image.description="The Kubernetes operator for automated trading." \
      org.opencontainers.image.licenses=Apache-2.0
RUN install -d -o 10001 -g 10001 /var/lib/openbell
COPY --from=packages /opt/openbell /opt/openbell
COPY examples/data /usr/share/openbell/datasets
COPY --from=app /app /opt/openbell/app
ENV PATH=/opt/openbell/app/bin:/opt/openbell/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    OPENBELL_DATASETS=/usr/share/openbell/datasets HOME=/var/lib/openbell PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/openbell
EXPOSE 8021
ENTRYPOINT ["openbell"]
